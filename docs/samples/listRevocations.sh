curl -H "Authorization: Bearer $ROLLCALL_TOKEN" \
  "$ROLLCALL_URL/api/v1/applications/$ROLLCALL_APPLICATION/revocations?limit=20"
