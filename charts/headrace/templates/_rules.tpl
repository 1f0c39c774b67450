{{/* Whether the chart has the operator's metrics scraped. */}}
{{- define "headrace.monitored" -}}
{{- if .Values.settings.metricsPort -}}
{{- include "headrace.wants" (dict "root" . "create" .Values.metrics.monitor.create "api" "monitoring.coreos.com/v1") -}}
{{- end -}}
{{- end -}}

{{/* Whether there are rules: without metrics they would only say that nobody tells any. */}}
{{- define "headrace.ruled" -}}
{{- if .Values.settings.metricsPort -}}
{{- include "headrace.wants" (dict "root" . "create" .Values.metrics.rules.create "api" "monitoring.coreos.com/v1") -}}
{{- end -}}
{{- end -}}

{{/* files/rules.yaml as `metrics.rules` wants it. */}}
{{- define "headrace.rules" -}}
{{- $chosen := .Values.metrics.rules -}}
{{- $groups := (.Files.Get "files/rules.yaml" | fromYaml).groups -}}
{{- include "headrace.knownAlerts" (dict "groups" $groups "path" "disabled" "names" $chosen.disabled) -}}
{{- include "headrace.knownAlerts" (dict "groups" $groups "path" "severities" "names" (keys $chosen.severities | sortAlpha)) -}}
{{- $kept := list -}}
{{- range $group := $groups -}}
  {{- $rules := list -}}
  {{- range $rule := $group.rules -}}
    {{- if not (has $rule.alert $chosen.disabled) -}}
      {{- if $rule.alert -}}
        {{- include "headrace.tuned" (dict "root" $ "alert" $rule "isOfRuns" (eq $group.name "headrace.alerts.runs")) -}}
      {{- end -}}
      {{- $rules = append $rules $rule -}}
    {{- end -}}
  {{- end -}}
  {{- if $rules -}}
    {{- $kept = append $kept (set $group "rules" $rules) -}}
  {{- end -}}
{{- end -}}
{{ toYaml (dict "groups" $kept) }}
{{- end -}}

{{/* Refuses names of alerts that there are not: include "headrace.knownAlerts" (dict "groups" $groups "path" "disabled" "names" $names) */}}
{{- define "headrace.knownAlerts" -}}
{{- $known := list -}}
{{- range .groups -}}
  {{- range .rules -}}
    {{- with .alert -}}{{- $known = append $known . -}}{{- end -}}
  {{- end -}}
{{- end -}}
{{- $path := .path -}}
{{- range .names -}}
  {{- if not (has . $known) -}}
    {{- fail (printf "metrics.rules.%s: there is no alert %q; name some of %s" $path . (join ", " $known)) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Changes one alert, and is empty: include "headrace.tuned" (dict "root" $ "alert" $rule "isOfRuns" true) */}}
{{- define "headrace.tuned" -}}
{{- $chosen := .root.Values.metrics.rules -}}
{{- $alert := .alert -}}
{{- with get $chosen.severities $alert.alert -}}
  {{- $_ := set $alert.labels "severity" . -}}
{{- end -}}
{{- with $chosen.pagedNamespaces -}}
  {{- if and $.isOfRuns (eq $alert.labels.severity "critical") -}}
    {{- $_ := mustRegexMatch . "" -}}
    {{- $severity := printf "{{ if match %q $labels.namespace }}critical{{ else }}warning{{ end }}" (printf "^(?:%s)$" .) -}}
    {{- $_ := set $alert.labels "severity" $severity -}}
  {{- end -}}
{{- end -}}
{{- with $chosen.runbookUrl -}}
  {{- $_ := set $alert.annotations "runbook_url" (printf "%s#%s" . (lower $alert.alert)) -}}
{{- end -}}
{{- if eq $alert.alert "HeadraceOperatorDown" -}}
  {{- with include "headrace.operatorsAbsent" .root -}}
    {{- $_ := set $alert "expr" . -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Which of the release's own operators tells nothing: others that the same Prometheus scrapes must not hide it. Empty where nothing tells them apart. */}}
{{- define "headrace.operatorsAbsent" -}}
{{- $monitored := include "headrace.monitored" . -}}
{{- $absent := list -}}
{{- if or $monitored .Values.operator.namespaces -}}
  {{- range .Values.operator.namespaces | default (list "") -}}
    {{- $matchers := list (printf "serves=%q" .) -}}
    {{- if $monitored -}}
      {{- $matchers = prepend $matchers (printf "namespace=%q" $.Release.Namespace) -}}
    {{- end -}}
    {{- $absent = append $absent (printf "absent(headrace_shards_held{%s})" (join ", " $matchers)) -}}
  {{- end -}}
{{- end -}}
{{ join " or " $absent }}
{{- end -}}
