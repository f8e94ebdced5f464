// OpenTelemetry for Rollcall: install an SDK and an exporter of your choice, and start with `node --import ./docs/examples/tracing.mjs server/main.ts`.
import { BatchSpanProcessor, ConsoleSpanExporter, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';

// Put the exporter of your collector here, such as OTLPTraceExporter of @opentelemetry/exporter-trace-otlp-http.
new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(new ConsoleSpanExporter())] }).register();
