package main

import (
	"context"
	"slices"
	"time"

	"berth/internal/app"

	"github.com/spf13/cobra"
)

// completeWithin bounds for how long a shell waits for the values of an argument.
const completeWithin = time.Second

// complete has the first argument of a command completed from values, each with an
// optional tab and description behind it. A failure completes nothing and says nothing:
// the line that is being typed would be torn.
func complete(c *cobra.Command, values func(context.Context) []string) *cobra.Command {
	c.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
		defer cancel()
		return values(ctx), cobra.ShellCompDirectiveNoFileComp
	}
	return c
}

// completeAddresses has the arguments behind a configuration completed from values, those
// that are there already left out; the configuration is a file.
func completeAddresses(c *cobra.Command, values func(ctx context.Context, path string) []string) *cobra.Command {
	c.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
		defer cancel()
		return slices.DeleteFunc(values(ctx, args[0]), func(v string) bool { return slices.Contains(args[1:], v) }), cobra.ShellCompDirectiveNoFileComp
	}
	return c
}

// withIDs has the argument of a command completed from the addresses of an API.
func withIDs(o *app.Options, c *cobra.Command, a *app.APIOptions) *cobra.Command {
	return complete(c, func(ctx context.Context) []string { return o.CompleteIPs(ctx, *a) })
}

// withInstances has it completed from the instances of a configuration.
func withInstances(o *app.Options, c *cobra.Command, path *string) *cobra.Command {
	return complete(c, func(context.Context) []string { return o.CompleteInstances(*path) })
}

// outputFlag adds --output to a command that prints a table or JSON.
func outputFlag(c *cobra.Command, output *string) *cobra.Command {
	c.Flags().StringVar(output, "output", "table", "table or json")
	// It fails only for a flag that does not exist.
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}
