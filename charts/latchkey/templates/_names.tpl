{{- define "latchkey.labels" -}}
app.kubernetes.io/name: latchkey
app.kubernetes.io/component: manager
{{- end }}

{{- /* image NAME: the full reference of one of the three images. Call with (list . "manager"). */ -}}
{{- define "latchkey.image" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{ $root.Values.image.repository }}/latchkey-{{ $name }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}
{{- with index $root.Values.image.digests $name }}@{{ . }}{{ end }}
{{- end }}
