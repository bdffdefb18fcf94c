package hclfile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lvsfleet/lvsfleet/inventory/hclfile"
)

func TestVariables(t *testing.T) {
	files := map[string]string{
		"site.hcl": `
variable "vip" { default = "192.168.0.200" }
variable "port" { type = number }
variable "weights" {
  type    = map(number)
  default = {}
}
variable "listener" {
  type    = bool
  default = null
}
variable "server" {
  type = object({ host = string, weight = optional(number, 9) })
  default = { host = "rs160" }
}
` + small + `
virtual_service "http" {
  director = "director"
  pool     = "web"
  address  = var.vip
  port     = var.port
  method   = "dr"
  weight   = lookup(var.weights, "http", 1)
  require_listener = var.listener
  real_server "rs160" { weight = var.server.weight }
}
`,
		"a.vars": "port = 81\nweights = { http = 2 }\n", "b.json": `{"port": 82, "listener": true}`,
	}
	tests := []struct {
		name     string
		in       hclfile.Input
		port     int
		vip      string
		weight   int
		listener bool
	}{
		{"the environment", hclfile.Input{Environ: []string{"LVSFLEET_VAR_port=80", "PATH=/bin"}}, 80, "192.168.0.200", 1, false},
		{"a file wins over the environment", hclfile.Input{Environ: []string{"LVSFLEET_VAR_port=80"}, VarFiles: []string{"a.vars"}}, 81, "192.168.0.200", 2, false},
		{"a later file wins", hclfile.Input{VarFiles: []string{"a.vars", "b.json"}}, 82, "192.168.0.200", 2, true},
		{"-var wins", hclfile.Input{VarFiles: []string{"a.vars"}, Vars: []string{"port=83", "vip=192.168.0.201", "port=84"}}, 84, "192.168.0.201", 2, false},
		{"an expression by -var", hclfile.Input{Vars: []string{"port=80", `weights={ http = 7 }`}}, 80, "192.168.0.200", 7, false},
		{"an equals sign in the value", hclfile.Input{Vars: []string{"port=80", `weights={http=5}`}}, 80, "192.168.0.200", 5, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := clean(t, load(t, tt.in, files)).Services[0]
			if s.Ports[0] != tt.port || s.Address != addr(tt.vip) || s.Weight != tt.weight || s.RequireListener != tt.listener {
				t.Errorf("%+v", s)
			}
			if w := s.RealServers[0].Weight; w == nil || *w != 9 {
				t.Errorf("the optional attribute: %v", w)
			}
		})
	}
}

func TestLongChainOfLocals(t *testing.T) {
	var src strings.Builder
	src.WriteString("locals {\n")
	for i := range 20_000 {
		fmt.Fprintf(&src, "  l%d = local.l%d\n", i, i+1)
	}
	src.WriteString("  l20000 = \"192.168.0.200\"\n}\n" + small + strings.Replace(service, `"192.168.0.200"`, "local.l0", 1))
	clean(t, load(t, hclfile.Input{}, map[string]string{"site.hcl": src.String()}))
}
