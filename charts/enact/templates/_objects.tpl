{{- /* Small objects that every component has. Each takes a list: the root context and the component's name. */}}

{{- define "enact.serviceAccount" -}}
{{- $values := index (first .).Values (last .) }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "enact.serviceAccountName" . }}
  namespace: {{ (first .).Release.Namespace }}
  labels:
    {{- include "enact.labels" . | nindent 4 }}
  {{- with $values.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}

{{- define "enact.podDisruptionBudget" -}}
{{- $root := first . }}
{{- if and $root.Values.podDisruptionBudget.enabled (gt (int (index $root.Values (last .)).replicas) 1) -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "enact.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "enact.selectorLabels" . | nindent 6 }}
{{- end }}
{{- end }}

{{- /* The binding of a component's ClusterRole to its ServiceAccount. */}}
{{- define "enact.clusterRoleBinding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ include "enact.clusterName" . }}
  labels:
    {{- include "enact.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ include "enact.clusterName" . }}
subjects:
  - kind: ServiceAccount
    name: {{ include "enact.serviceAccountName" . }}
    namespace: {{ (first .).Release.Namespace }}
{{- end }}

{{- define "enact.roleBinding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "enact.metadata" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ include "enact.componentName" . }}
subjects:
  - kind: ServiceAccount
    name: {{ include "enact.serviceAccountName" . }}
    namespace: {{ (first .).Release.Namespace }}
{{- end }}
