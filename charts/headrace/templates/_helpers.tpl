{{/* The release's name, with the chart's in it once. */}}
{{- define "headrace.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Of every object: include "headrace.labels" (dict "root" $ "component" "operator") */}}
{{- define "headrace.labels" -}}
{{ include "headrace.selectorLabels" . }}
app.kubernetes.io/part-of: headrace
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What picks the pods of a component; it never changes: include "headrace.selectorLabels" (dict "root" $ "component" "operator") */}}
{{- define "headrace.selectorLabels" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* An image by digest, else by tag, else by the chart's appVersion: include "headrace.image" (dict "root" $ "image" .Values.image) */}}
{{- define "headrace.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The operator's ServiceAccount. */}}
{{- define "headrace.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (printf "%s-operator" (include "headrace.fullname" .)) }}
{{- else -}}
{{ required "serviceAccount.name: is empty; name the ServiceAccount that exists, or set serviceAccount.create=true" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{/* Operators' Deployments: one for all namespaces, or one for each that is served. include "headrace.operatorName" (dict "root" $ "namespace" $namespace) */}}
{{- define "headrace.operatorName" -}}
{{ include "headrace.fullname" .root }}-operator{{ with .namespace }}-{{ . }}{{ end }}
{{- end -}}

{{/* Whether objects of an optional API are made: include "headrace.wants" (dict "root" $ "create" "Auto" "api" "monitoring.coreos.com/v1") */}}
{{- define "headrace.wants" -}}
{{- if or (eq .create "Always") (and (eq .create "Auto") (.root.Capabilities.APIVersions.Has .api)) -}}true{{- end -}}
{{- end -}}

{{/* Where the operator keeps records of finished runs. */}}
{{- define "headrace.historyEnv" -}}
{{- $postgresql := .Values.history.postgresql -}}
{{- if eq .Values.history.store "SQLite" -}}
- name: HEADRACE_HISTORY_URL
  value: sqlite:////var/lib/headrace/history.db
{{- else if eq .Values.history.store "PostgreSQL" -}}
- name: HEADRACE_HISTORY_URL
  {{- if $postgresql.urlSecret.name }}
  valueFrom: {secretKeyRef: {name: {{ $postgresql.urlSecret.name }}, key: {{ $postgresql.urlSecret.key }}}}
  {{- else }}
  value: {{ $postgresql.url | quote }}
  {{- end }}
{{- if $postgresql.passwordSecret.name }}
- name: HEADRACE_HISTORY_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $postgresql.passwordSecret.name }}, key: {{ $postgresql.passwordSecret.key }}}}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Where the dashboard reads the history store: its own Secrets, else those of the operator. */}}
{{- define "headrace.dashboardHistoryEnv" -}}
{{- $own := .Values.dashboard.history -}}
{{- $shared := .Values.history.postgresql -}}
{{- $url := ternary $own.urlSecret $shared.urlSecret (ne $own.urlSecret.name "") -}}
{{- $password := ternary $own.passwordSecret $shared.passwordSecret (ne $own.passwordSecret.name "") -}}
- name: HEADRACE_DASHBOARD_HISTORY_URL
  {{- if $url.name }}
  valueFrom: {secretKeyRef: {name: {{ $url.name }}, key: {{ $url.key }}}}
  {{- else }}
  value: {{ $shared.url | quote }}
  {{- end }}
{{- if $password.name }}
- name: HEADRACE_HISTORY_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ $password.name }}, key: {{ $password.key }}}}
{{- end }}
{{- end -}}

{{/* Whether the release has admission policies. They are objects of the cluster, which an operator of chosen namespaces does without unless told. */}}
{{- define "headrace.policies" -}}
{{- if and .Values.policies.enabled (or (not .Values.operator.namespaces) .Values.policies.forServedNamespaces) -}}true{{- end -}}
{{- end -}}

{{/* Of a policy's matchConstraints: the namespaces that are served. */}}
{{- define "headrace.servedOnly" -}}
{{- with .Values.operator.namespaces -}}
namespaceSelector:
  matchExpressions:
    - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }}}
{{- end -}}
{{- end -}}

{{/* Of a pod's spec: where it may run, and what it may displace. include "headrace.placement" (dict "values" .Values.operator "selector" $matchLabels) */}}
{{- define "headrace.placement" -}}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.topologySpread }}
topologySpreadConstraints:
  {{- range . }}
  - {{- toYaml . | nindent 4 }}
    labelSelector:
      matchLabels:
        {{- $.selector | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A PodDisruptionBudget, where there are two replicas or more: include "headrace.budget" (dict "root" $ "name" $name "labels" $labels "selector" $matchLabels "replicas" 2) */}}
{{- define "headrace.budget" -}}
{{- $given := .root.Values.podDisruptionBudget -}}
{{- if and $given.enabled (gt (int .replicas) 1) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- .labels | nindent 4 }}
spec:
  maxUnavailable: {{ $given.maxUnavailable }}
  # One that does not get ready must not hold up a drain.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- .selector | nindent 6 }}
{{- end }}
{{- end -}}
