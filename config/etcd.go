package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// fillEtcd checks what is said of etcd. It must be complete where something in
// the file needs it.
func (p *parser) fillEtcd(r *raw, c *Config) {
	line, e := p.lines["etcd"], &c.Etcd
	c.Fencing.Enabled = r.Fencing.Enabled
	p.setChoice(&c.Fencing.OnEtcdLoss, r.Fencing.OnEtcdLoss, "fencing", Refuse, Allow)
	tls := false
	for _, text := range r.Etcd.Endpoints {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" || strings.Trim(u.Path, "/") != "" || u.User != nil {
			p.report(line, "etcd.endpoints: %q is no URL of an etcd member, such as https://192.0.2.1:2379", text)
			continue
		}
		tls = tls || u.Scheme == "https"
		e.Endpoints = append(e.Endpoints, strings.TrimSuffix(text, "/"))
	}
	e.CAFile, e.CertFile, e.KeyFile = r.Etcd.CAFile, r.Etcd.CertFile, r.Etcd.KeyFile
	e.Username, e.Password, e.PasswordFile = r.Etcd.Username, Secret(r.Etcd.Password), r.Etcd.PasswordFile
	e.Member = r.Etcd.Member
	setText(&e.Prefix, r.Etcd.Prefix)
	if !strings.HasSuffix(e.Prefix, "/") {
		e.Prefix += "/"
	}
	if (e.CertFile == "") != (e.KeyFile == "") {
		p.report(line, "etcd: cert-file and key-file go together; one is missing")
	}
	if !tls && len(e.Endpoints) > 0 && e.CAFile+e.CertFile != "" {
		p.report(line, "etcd: ca-file and cert-file are for endpoints that begin with https://")
	}
	if e.Username == "" && (e.Password != "" || e.PasswordFile != "") {
		p.report(line, "etcd: a password without username")
	}
	p.setDuration(&e.LeaseTTL, r.Etcd.LeaseTTL, "etcd.lease-ttl", positive)
	if e.LeaseTTL%time.Second != 0 {
		p.report(line, "etcd.lease-ttl is %v; etcd counts whole seconds", e.LeaseTTL)
	}
	_, elect := p.lines["election"]
	switch {
	case elect && e.LeaseTTL < minElectTTL:
		p.report(line, "etcd.lease-ttl is %v; an election needs %v at least", e.LeaseTTL, minElectTTL)
	case e.LeaseTTL < minFencingTTL:
		p.report(line, "etcd.lease-ttl is %v; it must be %v at least", e.LeaseTTL, minFencingTTL)
	}
	if (c.Fencing.Enabled || elect) && len(r.Etcd.Endpoints) == 0 {
		p.report(line, "etcd.endpoints is missing; fencing and election need it, such as [https://192.0.2.1:2379]")
	}
}

// fillElection checks what `berth elect` campaigns for.
func (p *parser) fillElection(r *raw, c *Config) {
	line, given := p.lines["election"]
	e := &c.Election
	p.setChoice(&e.OnEtcdLoss, r.Election.OnEtcdLoss, "election", Free, Keep)
	e.Interface = r.Election.Interface
	if n := r.Election.Announce.Count; n != nil {
		if *n < 1 || *n > 100 {
			p.report(line, "election.announce.count is %d; it must be from 1 to 100", *n)
		}
		e.Announce.Count = *n
	}
	p.setDuration(&e.Announce.Interval, r.Election.Announce.Interval, "election.announce.interval", positive)
	p.setDuration(&e.Announce.Refresh, r.Election.Announce.Refresh, "election.announce.refresh", positive)
	names, seen := map[string]bool{}, map[netip.Addr]bool{}
	for i, in := range r.Election.Instances {
		if in.Name == "" {
			p.report(line, "election.instances: number %d has no name", i+1)
			continue
		}
		if names[in.Name] {
			p.report(line, "election.instances: %q is there twice", in.Name)
			continue
		}
		names[in.Name] = true
		addresses := p.addresses("election.instances", in.Addresses)
		for _, ip := range addresses {
			if seen[ip.Addr()] {
				p.report(line, "election.instances: %s is there twice", ip.Addr())
			}
			seen[ip.Addr()] = true
		}
		if !slices.ContainsFunc(in.Addresses, func(a address) bool { return a.text != "" }) {
			p.report(line, "election.instances: %q has no addresses", in.Name)
		}
		e.Instances = append(e.Instances, ElectionInstance{in.Name, addresses})
	}
	if !given {
		return
	}
	if e.Interface == "" && (c.Provider == "" || c.Provider == "none") {
		p.report(line, "election.interface is missing; it is the one that gets the addresses, such as eth0")
	}
	if len(r.Election.Instances) == 0 {
		p.report(line, "election.instances is missing; write one such as {name: api, addresses: [192.0.2.254]}")
	}
}

// setChoice takes one of the words that on-etcd-loss can be.
func (p *parser) setChoice(to *string, from, section string, words ...string) {
	if from == "" {
		return
	}
	for _, w := range words {
		if from == w {
			*to = w
			return
		}
	}
	p.report(p.lines[section], "%s.on-etcd-loss %q is not one of %s", section, from, strings.Join(words, ", "))
}
