{{- /* The name of every object of the release, such as diptych-operator. */ -}}
{{- define "diptych.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $release := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- printf "%s-operator" (trunc 54 $release | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "diptych.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "diptych.fullname" .) -}}
{{- end -}}

{{- define "diptych.priorityClassName" -}}
{{- .Values.priorityClass.name | default (ternary (include "diptych.fullname" .) "" .Values.priorityClass.create) -}}
{{- end -}}

{{- /* What selects the operator's pods. Deployments cannot change it, so it holds no version. */ -}}
{{- define "diptych.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "diptych.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "diptych.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "diptych.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}
