package api

import (
	"net/http"
	"slices"

	"berth/internal/cluster"
	"berth/ips"
)

// errNoIPs is the answer where no address can be added at run time.
var errNoIPs = &ips.ConflictError{Text: "no address can be added to this host, which elects no owner of added addresses; " +
	"berth elect does with election.interface, without follow.patroni in the role leader, or with pool.enabled"}

// list are the addresses, in the form of LinK.
type list struct {
	IPs []ips.Address `json:"ips"`
}

// one is one address, in the form of LinK.
type one struct {
	IP ips.Address `json:"ip"`
}

// ofIPs makes a handler of a function that needs the addresses.
func (s *site) ofIPs(f func(ips.Service, *http.Request) (answer, error)) http.HandlerFunc {
	return s.asJSON(func(r *http.Request) (answer, error) {
		if s.options.IPs == nil {
			return answer{}, errNoIPs
		}
		return f(s.options.IPs, r)
	})
}

// ofIP makes a handler of a function about one address.
func (s *site) ofIP(f func(service ips.Service, r *http.Request, id string) (answer, error)) http.HandlerFunc {
	return s.ofIPs(func(service ips.Service, r *http.Request) (answer, error) {
		id, err := idOf(r)
		if err != nil {
			return answer{}, err
		}
		return f(service, r, id)
	})
}

func listIPs(service ips.Service, _ *http.Request) (answer, error) {
	all := service.List()
	if all == nil {
		all = []ips.Address{}
	}
	return answer{status: http.StatusOK, body: list{all}}, nil
}

// addIP answers as LinK does: the object without a wrapper, and without a status, which it
// does not have yet.
func addIP(service ips.Service, r *http.Request) (answer, error) {
	spec, err := parseSpec(bodyOf(r))
	if err != nil {
		return answer{}, err
	}
	a, err := service.Add(r.Context(), spec)
	if err != nil {
		return answer{}, err
	}
	flat := ips.Address{ID: a.ID, IP: a.IP, Checks: a.Checks, KeepaliveInterval: a.KeepaliveInterval, HealthcheckInterval: a.HealthcheckInterval}
	return answer{status: http.StatusCreated, body: flat, location: "/ips/" + a.ID}, nil
}

func getIP(service ips.Service, _ *http.Request, id string) (answer, error) {
	a, err := service.Get(id)
	return answer{status: http.StatusOK, body: one{a}}, err
}

func removeIP(service ips.Service, r *http.Request, id string) (answer, error) {
	return answer{status: http.StatusNoContent}, service.Remove(r.Context(), id)
}

// updateIP changes what a body has (PATCH) or, with whole, all that can be changed (PUT).
func updateIP(whole bool) func(ips.Service, *http.Request, string) (answer, error) {
	return func(service ips.Service, r *http.Request, id string) (answer, error) {
		change, err := parseChange(bodyOf(r), whole)
		if err != nil {
			return answer{}, err
		}
		a, err := service.Update(r.Context(), id, change)
		return answer{status: http.StatusOK, body: one{a}}, err
	}
}

func lockIP(service ips.Service, r *http.Request, id string) (answer, error) {
	return answer{status: http.StatusNoContent}, service.Lock(r.Context(), id)
}

func (s *site) failoverIP(service ips.Service, r *http.Request, id string) (answer, error) {
	done, err := s.ownedBy(r, func(a cluster.AddressView) bool { return a.Kind == cluster.KindAdded && a.ID == id })
	if !done && err == nil {
		err = service.Failover(r.Context(), id)
	}
	return answer{status: http.StatusNoContent}, err
}

// ownedBy reports whether the member that a request for a fail-over names with "to", this
// one, is the owner already. The same request without it would then have the owner hand over
// to another member, which is the opposite of what its sender saw and wanted.
func (s *site) ownedBy(r *http.Request, is func(cluster.AddressView) bool) (bool, error) {
	to := r.URL.Query().Get("to")
	if to == "" {
		return false, nil
	}
	v := s.options.Cluster.View()
	if to != v.This {
		return false, &ips.ConflictError{Text: "this host is the member " + v.This + "; ask the one that is to be the owner"}
	}
	return v.Etcd.Reachable && slices.ContainsFunc(v.Addresses, func(a cluster.AddressView) bool { return a.Owner == to && is(a) }), nil
}

// failoverInstance hands over an instance of the configuration.
func (s *site) failoverInstance(r *http.Request) (answer, error) {
	if s.options.Instances == nil {
		return answer{}, errNoInstances
	}
	name := r.PathValue("name")
	done, err := s.ownedBy(r, func(a cluster.AddressView) bool { return a.Kind == cluster.KindElection && a.Instance == name })
	if !done && err == nil {
		err = s.options.Instances.Failover(r.Context(), name)
	}
	return answer{status: http.StatusNoContent}, err
}

// errNoInstances is the answer where no election of instances is.
var errNoInstances = &ips.ConflictError{Text: "no instance can be handed over by this host: keepalived or Patroni decides who owns it; " +
	"change priorities in keepalived, or switch over with patronictl"}
