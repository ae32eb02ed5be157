package api

import (
	"context"
	"net/http"

	"berth/ips"
	"berth/pool"
)

// Pool is a pool of addresses. It is a *pool.Client.
type Pool interface {
	List(ctx context.Context) (*pool.Overview, error)
	Add(ctx context.Context, texts []string) ([]pool.Change, error)
	Remove(ctx context.Context, texts []string) ([]pool.Change, error)
	Drain(ctx context.Context, member string, own, undo bool) (pool.Change, error)
}

// errNoPool is the answer where there is no pool.
var errNoPool = &ips.ConflictError{Text: "this host takes part in no pool; write pool: {enabled: true} into its configuration"}

// poolChanges is the answer to a change of the pool.
type poolChanges struct {
	Changes []pool.Change `json:"changes"`
}

// ofPool makes a handler of a function that needs the pool.
func (s *site) ofPool(f func(Pool, *http.Request) (answer, error)) http.HandlerFunc {
	return s.asJSON(func(r *http.Request) (answer, error) {
		if s.options.Pool == nil {
			return answer{}, errNoPool
		}
		return f(s.options.Pool, r)
	})
}

func listPool(p Pool, r *http.Request) (answer, error) {
	all, err := p.List(r.Context())
	return answer{status: http.StatusOK, body: all}, err
}

func addToPool(p Pool, r *http.Request) (answer, error) {
	texts, err := parseAddresses(bodyOf(r))
	if err != nil {
		return answer{}, err
	}
	changes, err := p.Add(r.Context(), texts)
	return answer{status: http.StatusOK, body: poolChanges{changes}}, err
}

func removeFromPool(p Pool, r *http.Request) (answer, error) {
	changes, err := p.Remove(r.Context(), []string{r.PathValue("address")})
	return answer{status: http.StatusOK, body: poolChanges{changes}}, err
}

// drain drains a member, or with undo ends that.
func (s *site) drain(undo bool) func(Pool, *http.Request) (answer, error) {
	return func(p Pool, r *http.Request) (answer, error) {
		member := r.PathValue("member")
		change, err := p.Drain(r.Context(), member, member == s.options.Cluster.View().This, undo)
		return answer{status: http.StatusOK, body: change}, err
	}
}
