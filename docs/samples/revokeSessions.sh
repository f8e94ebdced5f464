# What would it do? Leave dryRun out to do it, and every filter to throw everybody out.
curl -X DELETE -H "Authorization: Bearer $ROLLCALL_TOKEN" \
  "$ROLLCALL_URL/api/v1/applications/$ROLLCALL_APPLICATION/sessions?clientName=cursor&dryRun=true"
