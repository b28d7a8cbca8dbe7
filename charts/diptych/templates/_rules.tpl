{{- /*
Every right of the operator stands here once. The tests compare it with what the audit log saw in use: nothing that is
granted goes unused, nothing that is used is refused. Applying an object asks for `patch`, and for `create` when it is
new.
*/ -}}

{{- /* In every namespace that is watched. */ -}}
{{- define "diptych.rules.namespaced" -}}
# The resources themselves: the operator writes their status and nothing else.
- apiGroups: [diptych.dev]
  resources: [finetunejobs, diffusiondeployments, diffusionmodels]
  verbs: [get, list, watch]
- apiGroups: [diptych.dev]
  resources: [finetunejobs/status, diffusiondeployments/status, diffusionmodels/status]
  verbs: [patch]
# Read by the operator. Written by the pods of a job, whose rights the operator may only hand on when it has them.
- apiGroups: [diptych.dev]
  resources: [finetunereports]
  verbs: [get, list, watch, create, patch]
# The Ray clusters that train and serve.
- apiGroups: [ray.io]
  resources: [rayjobs, rayservices]
  verbs: [get, list, watch, create, patch, delete]
# Publishing what was promoted.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
# What surrounds them.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies, ingresses]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
{{- if .Values.gatewayAPI.enabled }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
# The accounts of the pods, and the role by which a job reports: these and no others, so nobody else can be given rights.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [serviceaccounts]
  resourceNames: [diptych-reporter, diptych-pod]
  verbs: [create, patch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  resourceNames: [diptych-reporter]
  verbs: [create, patch]
# Why a pod does not start, or died.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create, list, watch]
{{- if has .Release.Namespace .Values.watchNamespaces }}
{{ include "diptych.rules.heartbeat" . }}
{{- end }}
{{- end -}}

{{- /* In the whole cluster, when every namespace is watched. */ -}}
{{- define "diptych.rules.cluster" -}}
# A kind that is defined while the operator runs is watched from then on.
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [list, watch]
{{ include "diptych.rules.heartbeat" . }}
{{- end -}}

{{- /* The operator's Lease changes every few seconds: by its watch a quiet cluster is told from a dead connection. */ -}}
{{- define "diptych.rules.heartbeat" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ .Values.lease.name | quote }}]
  verbs: [list, watch]
{{- end -}}

{{- /* In the operator's own namespace. */ -}}
{{- define "diptych.rules.lease" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ .Values.lease.name | quote }}]
  verbs: [get, update]
{{- end -}}
