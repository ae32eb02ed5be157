package app

import (
	"berth/config"
	"berth/health"
	"berth/internal/journal"
	"berth/internal/status"
)

// newHealth builds the health checks of a configuration. about returns the instances of
// the board that a check is about, nil for all.
func newHealth(cfg *config.Config, board *status.Board, about func(check string) []string, m *health.Metrics, j *journal.Journal) *health.Set {
	cfg.WarnOfHealth(j)
	var all []health.Options
	for _, h := range cfg.HealthChecks() {
		instances := about(h.Name)
		o := healthOptions(h)
		o.Metrics, o.Journal = m, j
		o.Changed = func(s health.State) {
			board.Health(instances, status.Health{Check: h.Name, Healthy: s.Healthy, Reason: s.Reason, Since: s.Since})
		}
		all = append(all, o)
	}
	return health.NewSet(all...)
}

func healthOptions(h config.Health) health.Options {
	return health.Options{Name: h.Name, Check: healthKind(h).Check, Interval: h.Interval, Timeout: h.Timeout, Rise: h.Rise, Fall: h.Fall}
}

// healthKind returns a check of its kind.
func healthKind(h config.Health) health.Kind {
	switch {
	case h.HTTP != nil:
		return health.HTTP(*h.HTTP)
	case h.TCP != nil:
		return health.TCP(*h.TCP)
	case h.Exec != nil:
		return health.Exec(*h.Exec)
	case h.GRPC != nil:
		return health.GRPC(*h.GRPC)
	}
	return health.Postgres{DSN: h.Postgres.ReadDSN, Query: h.Postgres.Query, Expect: h.Postgres.Expect}
}

// allInstances is for checks of the host in the modes of keepalived.
func allInstances(string) []string { return nil }
