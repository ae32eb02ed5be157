package api

import (
	"net/http"

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

func failoverIP(service ips.Service, r *http.Request, id string) (answer, error) {
	return answer{status: http.StatusNoContent}, service.Failover(r.Context(), id)
}

// failoverInstance hands over an instance of the configuration.
func (s *site) failoverInstance(r *http.Request) (answer, error) {
	if s.options.Instances == nil {
		return answer{}, errNoInstances
	}
	return answer{status: http.StatusNoContent}, s.options.Instances.Failover(r.Context(), r.PathValue("name"))
}

// errNoInstances is the answer where no election of instances is.
var errNoInstances = &ips.ConflictError{Text: "no instance can be handed over by this host: keepalived or Patroni decides who owns it; " +
	"change priorities in keepalived, or switch over with patronictl"}
