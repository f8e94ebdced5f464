curl -H "Authorization: Bearer $ROLLCALL_TOKEN" \
  "$ROLLCALL_URL/api/v1/applications/$ROLLCALL_APPLICATION/heartbeats" \
  --json '{ "heartbeats": [{ "sessionId": "'$ROLLCALL_SESSION'", "lastActiveAt": "'$(date -u +%FT%TZ)'" }] }'
