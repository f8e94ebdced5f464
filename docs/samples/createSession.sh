curl -H "Authorization: Bearer $ROLLCALL_TOKEN" \
  "$ROLLCALL_URL/api/v1/applications/$ROLLCALL_APPLICATION/sessions" \
  --json '{
  "externalId": "mcp:5f2b9c0e",
  "userId": "user_ada",
  "credentialId": "sid:9b7c2f",
  "hostname": "build-07",
  "clientInfo": { "name": "claude-code", "title": "Claude Code", "version": "2.1.204" }
}'
