package main

import (
	"context"

	"berth/internal/app"

	"github.com/spf13/cobra"
)

func poolCommand(o *app.Options) *cobra.Command {
	c := &cobra.Command{Use: "pool", Short: "Show or change the addresses and members of the pool", Args: arguments(cobra.NoArgs)}
	c.AddCommand(poolListCommand(o), poolAddCommand(o), poolRemoveCommand(o), poolDrainCommand(o))
	return c
}

// poolFlags adds the flags that say where the pool is.
func poolFlags(c *cobra.Command, p *app.PoolOptions) *cobra.Command {
	return apiFlags(configFlag(c, &p.Config), &p.API, "URL of the API of a member (else BERTH_API_URL), instead of --config")
}

// placed notes which of the flags of poolFlags were given.
func placed(cmd *cobra.Command, p app.PoolOptions) app.PoolOptions {
	p.Configured = cmd.Flags().Changed("config")
	return p
}

func poolListCommand(o *app.Options) *cobra.Command {
	var p app.PoolOptions
	var output string
	c := poolFlags(&cobra.Command{
		Use:   "list",
		Short: "Show the addresses and members of the pool",
		Long: `Show the addresses of the pool, the member that has each and the member to which
it is assigned, and the members with their weights.`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf(output, "table", "json"); err != nil {
				return err
			}
			return o.PoolList(cmd.Context(), placed(cmd, p), output == "json")
		},
	}, &p)
	return outputFlag(c, &output)
}

func poolAddCommand(o *app.Options) *cobra.Command {
	var p app.PoolOptions
	return poolFlags(&cobra.Command{
		Use:   "add ADDRESS[/LENGTH]...",
		Short: "Add addresses to the pool",
		Long: `Add addresses to the list of the pool. The members serve them at once. An
address that is there already stays as it is, which is no error.`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.PoolAdd(cmd.Context(), placed(cmd, p), args) },
	}, &p)
}

func poolRemoveCommand(o *app.Options) *cobra.Command {
	var p app.PoolOptions
	return poolFlags(&cobra.Command{
		Use:   "remove ADDRESS...",
		Short: "Remove addresses from the pool",
		Long: `Remove addresses from the list of the pool. The member that has an address
unbinds it at once.

Exit status 1 when an address is not in the list; the others are removed.`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.PoolRemove(cmd.Context(), placed(cmd, p), args)
		},
	}, &p)
}

func poolDrainCommand(o *app.Options) *cobra.Command {
	var p app.PoolOptions
	var undo bool
	c := poolFlags(&cobra.Command{
		Use:   "drain [MEMBER]",
		Short: "Have a member give its addresses of the pool to the others",
		Long: `Have a member of the pool, that of this host or of the URL if none is named, give its
addresses to the other members and take none until --undo. It stays drained when its
berth or its host is started again.

Exit status 1 when there is no such member.`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			member := ""
			if len(args) == 1 {
				member = args[0]
			}
			return o.PoolDrain(cmd.Context(), placed(cmd, p), member, undo)
		},
	}, &p)
	c.Flags().BoolVar(&undo, "undo", false, "have the member take addresses again")
	return complete(c, func(ctx context.Context) []string { return o.CompletePoolMembers(ctx, placed(c, p)) })
}
