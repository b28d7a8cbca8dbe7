{{- /* What values.schema.json cannot say: values that do not go together. */ -}}
{{- define "diptych.refuse" -}}
{{- if ge (float64 .Values.reconciling.requestTimeoutSeconds) (float64 .Values.lease.seconds) -}}
{{- fail (printf "reconciling.requestTimeoutSeconds: %v must be below lease.seconds, %v, or a request could write after another replica took over." .Values.reconciling.requestTimeoutSeconds .Values.lease.seconds) -}}
{{- end -}}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.name: is empty while serviceAccount.create is false. Name the account that the operator runs as." -}}
{{- end -}}
{{- end -}}
