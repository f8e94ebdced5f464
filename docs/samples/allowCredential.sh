curl -X DELETE -H "Authorization: Bearer $ROLLCALL_TOKEN" \
  "$ROLLCALL_URL/api/v1/applications/$ROLLCALL_APPLICATION/revoked-credentials/sid:9b7c2f"
