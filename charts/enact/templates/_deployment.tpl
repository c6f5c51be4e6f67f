{{- /*
The Deployment of a component. Takes a dict: root, component, image (default: the release's), args, env (YAML), ports (name → number), initContainers, volumes and volumeMounts (YAML),
drain (seconds that a pod goes on serving while its endpoint is being taken out).
*/}}
{{- define "enact.deployment" -}}
{{- $it := list .root .component }}
{{- $values := index .root.Values .component }}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "enact.metadata" $it | nindent 2 }}
spec:
  replicas: {{ $values.replicas }}
  revisionHistoryLimit: 5
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0
  selector:
    matchLabels:
      {{- include "enact.selectorLabels" $it | nindent 6 }}
  template:
    metadata:
      {{- include "enact.podMetadata" (list .root .component $values) | nindent 6 }}
    spec:
      serviceAccountName: {{ include "enact.serviceAccountName" $it }}
      automountServiceAccountToken: true
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
      {{- with include "enact.scheduling" (list .root .component $values) | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      securityContext:
        {{- include "enact.podSecurityContext" 65532 | nindent 8 }}
      {{- with .initContainers }}
      initContainers:
        {{- . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .component }}
          image: {{ include "enact.image" (list .root (.image | default .root.Values.image)) }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          command: [enact-{{ .component }}]
          {{- with .args }}
          args:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          env:
            {{- include "enact.log.env" .root | nindent 12 }}
            {{- .env | nindent 12 }}
            {{- with $values.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          ports:
            {{- range $name, $port := .ports }}
            - name: {{ $name }}
              containerPort: {{ $port }}
            {{- end }}
          {{- with .drain }}
          lifecycle:
            preStop:
              sleep:
                seconds: {{ . }}
          {{- end }}
          livenessProbe:
            httpGet:
              path: /healthz
              port: metrics
            initialDelaySeconds: 5
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet:
              path: /readyz
              port: metrics
            periodSeconds: 5
            timeoutSeconds: 5
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          securityContext:
            {{- include "enact.containerSecurityContext" . | nindent 12 }}
          {{- with .volumeMounts }}
          volumeMounts:
            {{- . | nindent 12 }}
          {{- end }}
      {{- with .volumes }}
      volumes:
        {{- . | nindent 8 }}
      {{- end }}
{{- end }}
