package main

import (
	"berth/internal/app"

	"github.com/spf13/cobra"
)

func watchCommand(o *app.Options) *cobra.Command {
	return &cobra.Command{
		Use:   "watch CONFIG",
		Short: "Point floating IPs at the host that heartbeats elect",
		Long: `Send heartbeats to the peers that the configuration names, and point the managed
addresses at this host while no living peer ranks before it: the host with the lowest
priority has them. Neither keepalived nor etcd is needed; with fencing.enabled the
owner also needs a lease in etcd.

At SIGTERM berth hands over to a living peer; at SIGHUP it reads the configuration
again without moving an address. SIGUSR1 lowers the number of the priority by one, and
SIGUSR2 raises it.`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.Watch(cmd.Context(), args[0]) },
	}
}
