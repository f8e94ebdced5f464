// Loaded before the server, as an operator would load an SDK; writes each span as one line to stderr.
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node';

const exporter = new InMemorySpanExporter();
new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }).register();

setInterval(() => {
  for (const span of exporter.getFinishedSpans()) {
    const { name, kind, attributes, status, parentSpanContext } = span;
    process.stderr.write(`span ${JSON.stringify({ name, kind, attributes, status, parentId: parentSpanContext?.spanId, ...span.spanContext() })}\n`);
  }
  exporter.reset();
}, 50).unref();
