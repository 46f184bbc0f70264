{{- define "zest.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "zest.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "zest.labels" -}}
{{ include "zest.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Where pods find the endpoint of their own node. */}}
{{- define "zest.url" -}}
http://{{ include "zest.name" . }}.{{ .Release.Namespace }}.svc:{{ .Values.endpoint.port }}
{{- end }}

{{/* A value of the release's Secret: the one that is set, else the one that is there, else a new one. */}}
{{- define "zest.kept" -}}
{{- $there := lookup "v1" "Secret" .root.Release.Namespace (include "zest.name" .root) -}}
{{- if .given }}{{ .given }}{{ else if and $there (hasKey $there.data .name) }}{{ index $there.data .name | b64dec }}{{ else }}{{ randAlphaNum 48 | sha256sum }}{{ end -}}
{{- end }}
