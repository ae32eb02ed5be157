package main

import (
	"context"

	"berth/internal/app"

	"github.com/spf13/cobra"
)

func associateCommand(o *app.Options) *cobra.Command {
	return moveCommand(o, false, &cobra.Command{
		Use:   "associate CONFIG [ADDRESS...]",
		Short: "Point floating IPs at this host, once",
		Long: `Point floating IPs at this host, once, and take them away from any other server: the
addresses named, or all of the configuration, as berth show lists them. An address that
is here already costs no write. Each outcome is read back from the provider and printed:
where the address was, where it is, and how long that took.

A berth that holds an address elsewhere takes it back: the command warns where it can
tell that. It refuses to act against the owner that etcd names (fencing.enabled, berth
elect) unless --force is given.

With --dry-run the command asks the provider, prints a line for each call that it would
make, and writes nothing.

Exit status 1 when an address is not here afterwards; the others are moved.`,
	})
}

func dissociateCommand(o *app.Options) *cobra.Command {
	return moveCommand(o, true, &cobra.Command{
		Use:   "dissociate CONFIG [ADDRESS...]",
		Short: "Point floating IPs away from this host, once",
		Long: `Point floating IPs away from this host, once: the addresses named, or all of the
configuration, as berth show lists them. They point nowhere afterwards, or at the
servers that had them beside this host. An address that is not here costs no write. Each
outcome is read back from the provider and printed: where the address was, where it is,
and how long that took.

The API of cloudscale cannot make a floating IP point nowhere; run berth associate on the
host that is to have it.

A berth on this host that holds an address points it here again: the command warns of
it. It refuses to act against the owner that etcd names (fencing.enabled, berth elect)
unless --force is given.

With --dry-run the command asks the provider, prints a line for each call that it would
make, and writes nothing.

Exit status 1 when an address is still here afterwards, or that cannot be told; the others
are moved. Exit status 2 when the provider cannot do it.`,
	})
}

// moveCommand completes either command.
func moveCommand(o *app.Options, release bool, c *cobra.Command) *cobra.Command {
	ao := app.AssociateOptions{Release: release}
	var output string
	c.Args = arguments(cobra.MinimumNArgs(1))
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := oneOf(output, "table", "json"); err != nil {
			return err
		}
		ao.JSON, ao.Addresses = output == "json", args[1:]
		return o.Associate(cmd.Context(), args[0], ao)
	}
	c.Flags().StringVar(&ao.Wait, "wait", "", "try again until it is so; with --wait=TIME, such as 30s, for so long")
	c.Flags().Lookup("wait").NoOptDefVal = app.WithoutEnd
	c.Flags().BoolVar(&ao.Force, "force", false, "act also against the owner that etcd names")
	outputFlag(c, &output)
	return completeAddresses(c, func(_ context.Context, path string) []string { return o.CompleteAddresses(path) })
}
