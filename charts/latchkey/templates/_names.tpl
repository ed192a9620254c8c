{{- define "latchkey.labels" -}}
app.kubernetes.io/name: latchkey
app.kubernetes.io/component: manager
{{- end }}

{{- /* image NAME: the full reference of one of the three images. Call with (list . "manager"). */ -}}
{{- define "latchkey.image" -}}
{{- $root := index . 0 -}}
{{ $root.Values.image.repository }}/latchkey-{{ index . 1 }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}
{{- end }}
