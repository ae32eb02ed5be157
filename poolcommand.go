package main

import (
	"berth/internal/app"

	"github.com/spf13/cobra"
)

func poolCommand(o *app.Options) *cobra.Command {
	c := &cobra.Command{Use: "pool", Short: "Show or change the addresses and members of the pool", Args: arguments(cobra.NoArgs)}
	c.AddCommand(poolListCommand(o), poolAddCommand(o), poolRemoveCommand(o), poolDrainCommand(o))
	return c
}

func poolListCommand(o *app.Options) *cobra.Command {
	var path, output string
	c := configFlag(&cobra.Command{
		Use:   "list",
		Short: "Show the addresses and members of the pool",
		Long: `Show the addresses of the pool, the member that has each and the member to which
it is assigned, and the members with their weights.`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf(output, "table", "json"); err != nil {
				return err
			}
			return o.PoolList(cmd.Context(), path, output == "json")
		},
	}, &path)
	c.Flags().StringVar(&output, "output", "table", "table or json")
	return c
}

func poolAddCommand(o *app.Options) *cobra.Command {
	var path string
	return configFlag(&cobra.Command{
		Use:   "add ADDRESS[/LENGTH]...",
		Short: "Add addresses to the pool",
		Long: `Add addresses to the list of the pool. The members serve them at once. An
address that is there already stays as it is, which is no error.`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.PoolAdd(cmd.Context(), path, args) },
	}, &path)
}

func poolRemoveCommand(o *app.Options) *cobra.Command {
	var path string
	return configFlag(&cobra.Command{
		Use:   "remove ADDRESS...",
		Short: "Remove addresses from the pool",
		Long: `Remove addresses from the list of the pool. The member that has an address
unbinds it at once.

Exit status 1 when an address is not in the list; the others are removed.`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.PoolRemove(cmd.Context(), path, args) },
	}, &path)
}

func poolDrainCommand(o *app.Options) *cobra.Command {
	var path string
	var undo bool
	c := configFlag(&cobra.Command{
		Use:   "drain [MEMBER]",
		Short: "Have a member give its addresses of the pool to the others",
		Long: `Have a member of the pool, that of this host if none is named, give its addresses
to the other members and take none until --undo. It stays drained when its berth or
its host is started again.

Exit status 1 when there is no such member.`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			member := ""
			if len(args) == 1 {
				member = args[0]
			}
			return o.PoolDrain(cmd.Context(), path, member, undo)
		},
	}, &path)
	c.Flags().BoolVar(&undo, "undo", false, "have the member take addresses again")
	return c
}
