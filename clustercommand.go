package main

import (
	"berth/internal/app"

	"github.com/spf13/cobra"
)

func clusterCommand(o *app.Options) *cobra.Command {
	var p app.PoolOptions
	var output string
	c := poolFlags(&cobra.Command{
		Use:   "cluster",
		Short: "Show the addresses, owners and members of the whole cluster",
		Long: `Show every address of the cluster with its owner and candidates, all members with
their state and health, and the last moves with their reasons, as etcd has them.
The command needs no running berth on this host, only its configuration and access
to etcd. With --url it shows what a member sees, through its management API: also
members that have just gone, and a member without etcd. Times are those of the
hosts that wrote them.

Exit status 1 when etcd, or the API, cannot be reached; 2 when the configuration has
no etcd.`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf(output, "table", "json"); err != nil {
				return err
			}
			return o.Cluster(cmd.Context(), placed(cmd, p), output == "json")
		},
	}, &p)
	return outputFlag(c, &output)
}
