package keepalivedconf

// adviseOnInstances warns about what is legal but hurts where a takeover has
// to move a floating IP at a provider.
func (m *machine) adviseOnInstances() {
	for _, i := range m.instances {
		if i.state == "MASTER" && !i.noPreempt && i.priority < 255 {
			m.warnFor(i, "state MASTER makes the host take the addresses back whenever it starts, which costs an outage where the provider is slow; write state BACKUP and nopreempt on all hosts")
		}
		if !i.unicast {
			m.warnFor(i, "it has no unicast_peer, and most clouds carry no multicast, without which every host becomes MASTER; add unicast_src_ip and unicast_peer")
		}
	}
}
