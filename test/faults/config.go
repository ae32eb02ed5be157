package faults

import (
	"fmt"
	"strings"
)

// config is the configuration of the host's berth.
func (h *Host) config() string {
	o := h.lab.options
	instance := fmt.Sprintf("  instances:\n    - {name: %s, addresses: [%v/32, \"%v/128\"]}\n", Instance, Address4, Address6)
	if o.Patroni {
		return fmt.Sprintf("run-directory: /run/berth\nfollow: {patroni: {url: \"http://127.0.0.1:8008\", role: leader}}\nelection:\n  interface: %s\n%s", ServiceLink, instance)
	}
	member := h.member
	if member == "" {
		member = h.Name()
	}
	text := fmt.Sprintf(`run-directory: /run/berth
etcd:
  endpoints: [%s]
  prefix: %s
  member: %s
  lease-ttl: %v
election:
  interface: %s
  on-etcd-loss: %s
`, h.lab.endpoints(), prefix, member, Lease, ServiceLink, o.OnEtcdLoss)
	api := "api: {listen: \"" + APIAddress + "\"}\n"
	if o.Added {
		return text + api
	}
	if o.Health && o.Pool == 0 {
		text += healthConfig()
	}
	if o.Pool > 0 {
		text += "pool:\n  enabled: true\n"
		if o.Health {
			text += healthConfig()
		}
		return text
	}
	text += instance
	if o.API {
		return text + api
	}
	for i := range o.Crowd {
		var list []string
		for _, a := range CrowdAddresses(i) {
			list = append(list, `"`+a.String()+`"`)
		}
		text += fmt.Sprintf("    - {name: crowd%d, addresses: [%s]}\n", i, strings.Join(list, ", "))
	}
	return text
}

// healthConfig are the health checks of the election, or of the pool.
func healthConfig() string {
	return fmt.Sprintf("  health:\n    - {http: {url: \"http://%s/\"}, interval: %v, timeout: %v, rise: %d, fall: %d}\n",
		healthAddress, healthInterval, healthTimeout, healthRise, healthFall)
}
