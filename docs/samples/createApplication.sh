curl -H "Authorization: Bearer $ROLLCALL_TOKEN" \
  "$ROLLCALL_URL/api/v1/applications" \
  --json '{ "name": "Billing MCP server" }'
