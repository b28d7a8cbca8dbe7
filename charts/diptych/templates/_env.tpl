{{- /* The operator's settings, in the order of operator/diptych_operator/settings.py. */ -}}
{{- define "diptych.env" -}}
- name: DIPTYCH_IMAGE
  value: {{ .Values.ray.image | default (printf "ghcr.io/diptych-dev/diptych/ray:%s" .Chart.AppVersion) | quote }}
- name: DIPTYCH_IMAGE_PULL_POLICY
  value: {{ .Values.ray.imagePullPolicy | quote }}
- name: DIPTYCH_RAY_VERSION
  value: {{ .Values.ray.version | quote }}
- name: DIPTYCH_HEAD_CPUS
  value: {{ .Values.ray.headCpus | quote }}
- name: DIPTYCH_HEAD_MEMORY
  value: {{ .Values.ray.headMemory | quote }}
- name: DIPTYCH_NETWORK_POLICIES
  value: {{ .Values.ray.networkPolicies | quote }}
- name: DIPTYCH_GPU_RESOURCE
  value: {{ .Values.gpu.resource | quote }}
- name: DIPTYCH_GPU_NODE_LABEL
  value: {{ .Values.gpu.nodeLabel | quote }}
- name: DIPTYCH_KUBERAY_NAMESPACE
  value: {{ .Values.kuberay.namespace | quote }}
- name: DIPTYCH_GATEWAY_API
  value: {{ .Values.gatewayAPI.enabled | quote }}
- name: DIPTYCH_GATEWAY_URL
  value: {{ .Values.serving.gatewayUrl | quote }}
- name: DIPTYCH_WATCH_NAMESPACES
  value: {{ .Values.watchNamespaces | uniq | join "," | quote }}
- name: DIPTYCH_CONCURRENCY
  value: {{ .Values.reconciling.concurrency | int64 | quote }}
- name: DIPTYCH_RESYNC_SECONDS
  value: {{ .Values.reconciling.resyncSeconds | int64 | quote }}
- name: DIPTYCH_REQUEST_TIMEOUT_S
  value: {{ .Values.reconciling.requestTimeoutSeconds | quote }}
- name: DIPTYCH_LEASE_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: DIPTYCH_LEASE_NAME
  value: {{ .Values.lease.name | quote }}
- name: DIPTYCH_LEASE_SECONDS
  value: {{ .Values.lease.seconds | int64 | quote }}
- name: DIPTYCH_IDENTITY
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: DIPTYCH_PORT
  value: "8080"
- name: DIPTYCH_LOG_LEVEL
  value: {{ .Values.log.level | quote }}
- name: DIPTYCH_LOG_FORMAT
  value: {{ .Values.log.format | quote }}
{{- end -}}
