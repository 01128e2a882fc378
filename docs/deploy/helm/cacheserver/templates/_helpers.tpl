{{- define "cacheserver.labels" -}}
app.kubernetes.io/name: cacheserver
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "cacheserver.name" -}}
{{- if contains "cacheserver" .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-cacheserver" (.Release.Name | trunc 28 | trimSuffix "-") }}
{{- end -}}
{{- end -}}

{{- define "cacheserver.secret" -}}
{{ .Values.existingSecret | default (include "cacheserver.name" .) }}
{{- end -}}

{{- define "cacheserver.container" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
env:
  # Below the mount, whose owner is root: the server makes it, for itself alone.
  - {name: CACHESERVER_DATA_DIR, value: /data/cacheserver}
  - name: CACHESERVER_ADMIN_KEY
    valueFrom: {secretKeyRef: {name: {{ include "cacheserver.secret" . }}, key: admin-key}}
  - name: ANTHROPIC_API_KEY
    valueFrom: {secretKeyRef: {name: {{ include "cacheserver.secret" . }}, key: anthropic-api-key, optional: true}}
  {{- if .Values.redis.enabled }}
  - name: CACHESERVER_REDIS_URL
    valueFrom: {secretKeyRef: {name: {{ include "cacheserver.secret" . }}, key: redis-url}}
  {{- end }}
  {{- if not (hasKey (default dict .Values.env) "CACHESERVER_INDEX_REDIS_URL") }}
  - name: CACHESERVER_INDEX_REDIS_URL
    valueFrom: {secretKeyRef: {name: {{ include "cacheserver.secret" . }}, key: index-redis-url, optional: true}}
  {{- end }}
  {{- range $name, $value := .Values.env }}
  - {name: {{ $name }}, value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}}
  {{- end }}
volumeMounts:
  - {name: data, mountPath: /data}
  - {name: tmp, mountPath: /tmp}
{{- end -}}
