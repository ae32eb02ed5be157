package app

import (
	"path/filepath"

	"berth/api"
	"berth/config"
	"berth/health"
	"berth/internal/journal"
	"berth/internal/keepalived"
	"berth/internal/pointing"
	"berth/internal/presence"
	"berth/internal/reading"
	"berth/internal/status"
	"berth/notify"
)

// graph is the parts that notify mode and FIFO mode share.
type graph struct {
	cfg        *config.Config
	journal    *journal.Journal
	self       notify.Record
	keepalived *keepalived.Daemon
	book       *reading.Book
	status     *status.Board
	cloud      *pointing.Cloud
	health     *health.Set // for people: keepalived decides
	api        api.Options // of FIFO mode, of the configuration alone
}

// newGraph builds the parts. self is this process, k and n are keepalived and its
// network.
func (o *Options) newGraph(cfg *config.Config, self notify.Record, k *keepalived.Daemon, n *presence.Network, m *meters, j *journal.Journal) (g *graph, err error) {
	self.Config = absolute(cfg.Path)
	g = &graph{cfg: cfg, journal: j, self: self, keepalived: k}
	mode := "notify"
	if self.Service {
		mode = "fifo"
	}
	g.status = status.NewBoard(cfg.RunDirectory, status.Instance{PID: self.PID, Start: self.Start, Mode: mode}, j)
	m.status.Watch(g.status)
	g.health = newHealth(cfg, g.status, allInstances, m.health, j)
	g.book = newBook(cfg, newVersions(cfg, cfg.RunDirectory, k, j).ReadAs, k, n.Has, j)
	g.book.Noted = g.status.Configuration
	if g.cloud, err = o.newCloud(cfg, m, j); err != nil {
		return nil, err
	}
	return g, nil
}

// absolute returns the path of a configuration as another process knows it.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
