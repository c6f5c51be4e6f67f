{{- /* Helpers that speak of one component take a list: the root context and the component's name. */}}

{{- define "enact.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- /* At most 40 characters, so that every suffix leaves a valid name. */}}
{{- define "enact.fullname" -}}
{{- $name := include "enact.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- .Values.fullnameOverride | default $full | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "enact.componentName" -}}
{{- printf "%s-%s" (include "enact.fullname" (first .)) (last .) }}
{{- end }}

{{- define "enact.selectorLabels" -}}
app.kubernetes.io/name: {{ include "enact.name" (first .) }}
app.kubernetes.io/instance: {{ (first .).Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{- define "enact.labels" -}}
{{- $root := first . }}
{{- with $root.Values.commonLabels }}
{{- toYaml . }}
{{ end }}
{{- include "enact.selectorLabels" . }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: enact
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- end }}

{{- /* Name, namespace and labels. */}}
{{- define "enact.metadata" -}}
name: {{ include "enact.componentName" . }}
namespace: {{ (first .).Release.Namespace }}
labels:
  {{- include "enact.labels" . | nindent 2 }}
{{- end }}

{{- /* Where cluster-wide objects of two releases must not meet. */}}
{{- define "enact.clusterName" -}}
{{- printf "%s-%s" (first .).Release.Namespace (include "enact.componentName" .) }}
{{- end }}

{{- define "enact.serviceAccountName" -}}
{{- (index (first .).Values (last .)).serviceAccount.name | default (include "enact.componentName" .) }}
{{- end }}

{{- /* Takes a list: the root context and an image of the values. */}}
{{- define "enact.image" -}}
{{- $root := first . }}
{{- $image := last . }}
{{- $name := printf "%s/%s" ($image.registry | default $root.Values.image.registry) $image.repository | trimPrefix "/" }}
{{- if $image.digest }}
{{- printf "%s@%s" $name $image.digest }}
{{- else }}
{{- printf "%s:%s" $name ($image.tag | default $root.Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- /* The Secret that holds the database's URLs. */}}
{{- define "enact.postgres.secretName" -}}
{{- if .Values.postgres.existingSecret }}
{{- .Values.postgres.existingSecret }}
{{- else if .Values.postgres.bundled.enabled }}
{{- include "enact.componentName" (list . "postgres") }}
{{- else }}
{{- fail "Enact keeps its record in Postgres: set postgres.existingSecret to the name of a Secret with the keys ownerUrl, appUrl and operatorUrl, or, to try things out, postgres.bundled.enabled=true" }}
{{- end }}
{{- end }}

{{- /* Environment of whoever connects to Postgres. Takes a list: the root context, and the variables with the keys of their URLs. */}}
{{- define "enact.postgres.env" -}}
{{- $root := first . }}
{{- range $variable, $key := last . }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ include "enact.postgres.secretName" $root }}
      key: {{ index $root.Values.postgres.existingSecretKeys $key }}
      {{- if eq $key "operatorUrl" }}
      # A Secret without it gives all programs one login.
      optional: true
      {{- end }}
{{- end }}
{{- if $root.Values.postgres.tls.caSecret }}
- name: PGSSLMODE
  value: verify-full
- name: PGSSLROOTCERT
  value: /etc/enact/postgres/{{ $root.Values.postgres.tls.caSecretKey }}
{{- end }}
{{- end }}

{{- define "enact.postgres.volumeMounts" -}}
{{- if .Values.postgres.tls.caSecret }}
- name: postgres-ca
  mountPath: /etc/enact/postgres
  readOnly: true
{{- end }}
{{- end }}

{{- define "enact.postgres.volumes" -}}
{{- with .Values.postgres.tls }}
{{- if .caSecret }}
- name: postgres-ca
  secret:
    secretName: {{ .caSecret }}
    items:
      - key: {{ .caSecretKey }}
        path: {{ .caSecretKey }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Environment, volumes and mounts of whoever asks what texts mean. */}}
{{- define "enact.search.env" }}
{{- with .Values.search }}
- name: ENACT_EMBEDDER
  value: {{ .embedder }}
{{- if eq .embedder "openai" }}
- name: ENACT_EMBED_URL
  value: {{ required "search.openai.url is the endpoint's base URL, as in https://api.openai.com/v1" .openai.url | quote }}
- name: ENACT_EMBED_MODEL
  value: {{ required "search.openai.model is the endpoint's name of the model" .openai.model | quote }}
{{- if .openai.keySecret }}
- name: ENACT_EMBED_KEY_FILE
  value: /etc/enact/embedder/key
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "enact.search.volumeMounts" }}
{{- if eq .Values.search.embedder "minilm" }}
- name: models
  mountPath: /models
  readOnly: true
{{- else if and (eq .Values.search.embedder "openai") .Values.search.openai.keySecret }}
- name: embedder
  mountPath: /etc/enact/embedder
  readOnly: true
{{- end }}
{{- end }}

{{- /* Whoever brings the model: volumes that are images are not to be had everywhere. */}}
{{- define "enact.search.initContainers" }}
{{- if eq .Values.search.embedder "minilm" }}
- name: model
  image: {{ include "enact.image" (list . .Values.search.minilm.image) }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [cp, -R, /models/., /mnt]
  resources:
    requests: {cpu: 50m, memory: 16Mi}
    limits: {memory: 128Mi}
  securityContext:
    {{- include "enact.containerSecurityContext" . | nindent 4 }}
  volumeMounts:
    - name: models
      mountPath: /mnt
{{- end }}
{{- end }}

{{- define "enact.search.volumes" }}
{{- $search := .Values.search }}
{{- if eq $search.embedder "minilm" }}
- name: models
  emptyDir:
    sizeLimit: 1Gi
{{- else if and (eq $search.embedder "openai") $search.openai.keySecret }}
- name: embedder
  secret:
    secretName: {{ $search.openai.keySecret }}
    items:
      - key: {{ $search.openai.keySecretKey }}
        path: key
{{- end }}
{{- end }}

{{- define "enact.log.env" -}}
- name: ENACT_LOG
  value: {{ .Values.log.filter | quote }}
- name: ENACT_LOG_FORMAT
  value: {{ .Values.log.format }}
{{- end }}

{{- define "enact.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Takes the user that the image runs as. */}}
{{- define "enact.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- /* Where a component's pods may run. Takes a list: the root context, the component and its values. */}}
{{- define "enact.scheduling" -}}
{{- $root := index . 0 }}
{{- $values := index . 2 }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml $values.topologySpreadConstraints | nindent 2 }}
{{- else if gt (int $values.replicas) 1 }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "enact.selectorLabels" (list $root (index . 1)) | nindent 8 }}
{{- end }}
{{- end }}

{{- /* Labels and annotations of a pod. Takes a list: the root context, the component and its values. */}}
{{- define "enact.podMetadata" -}}
{{- $values := index . 2 -}}
labels:
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- include "enact.labels" (list (index . 0) (index . 1)) | nindent 2 }}
{{- with $values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The user that the operator is to the API server. */}}
{{- define "enact.operatorUser" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "enact.serviceAccountName" (list . "operator")) }}
{{- end }}

{{- /* The Secret with the webhook's serving certificate. */}}
{{- define "enact.webhook.secretName" -}}
{{- include "enact.componentName" (list . "webhook-tls") }}
{{- end }}

{{- /*
Whether a namespace is a tenant's, or allows a tenant to own it. The API server's cache of namespaces may be older than the label, but not
older than the annotation.
*/}}
{{- define "enact.admissionPolicy.tenants" -}}
- name: tenants
  expression: >-
    namespaceObject.metadata.?labels[?'enact.dev/tenant'].orValue('') != '' ||
    namespaceObject.metadata.?annotations[?'enact.dev/allow-tenant'].orValue('') != '' ||
    namespaceObject.metadata.name in {{ toJson .Values.defaultTenant.namespaces }}
{{- end }}
