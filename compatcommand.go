package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"berth/compat"
	"berth/internal/app"

	"github.com/spf13/cobra"
)

func yaimCommand(o *app.Options) *cobra.Command {
	var path string
	var printConfig bool
	c := &cobra.Command{
		Use:   "yaim",
		Short: "Serve a pool of addresses with the configuration of yaim",
		Long: `Do what berth elect does, with a configuration of yaim: its file yaim.yml, and its
variables YAIM_*. berth reads the list of addresses by version 3 of etcd's API, yaim by
version 2. docs/migrating.md says what else differs.

With --print-config berth prints its own configuration that means the same, without a
password, and exits; berth elect runs with it.

SIGQUIT ends it as SIGTERM does; the other signals are those of berth elect.`,
		Version: o.Version,
		Args:    arguments(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.Yaim(cmd.Context(), path, printConfig) },
	}
	c.Flags().StringVar(&path, "config", "./yaim.yml", "configuration of yaim")
	c.Flags().BoolVar(&printConfig, "print-config", false, "print the configuration of berth that means the same")
	c.SetVersionTemplate("{{.Version}}\n")
	return c
}

func linkCommand(o *app.Options) *cobra.Command {
	var printConfig bool
	c := &cobra.Command{
		Use:   "link",
		Short: "Serve addresses that are added at run time, with the environment of LinK",
		Long: `Do what berth elect does, with the configuration of LinK, which is its environment:
INTERFACE, USER, PASSWORD, PORT, ETCD_HOSTS, ETCD_TLS_CERT, ETCD_TLS_KEY,
ETCD_CACERT, HOSTNAME, and others that docs/migrating.md lists. The addresses come
from the management API, or from berth ips. Without etcd each healthy host claims
them.

With --print-config berth prints its own configuration that means the same, without a
password, and exits; berth elect runs with it.

The signals are those of berth elect.`,
		Version: o.Version,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(fmt.Errorf("berth link expects no arguments, as LinK's program; arguments given: %d (the program link of coreutils, which makes hard links, is /usr/bin/link)", len(args)))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return o.Link(cmd.Context(), printConfig) },
	}
	c.Flags().BoolVar(&printConfig, "print-config", false, "print the configuration of berth that means the same")
	c.SetVersionTemplate("{{.Version}}\n")
	return c
}

// flagCommand makes the command of a program that uses the flag package of Go. c has its
// name and texts, flags are shown in its help, and run gets the arguments as they are.
func flagCommand(o *app.Options, c *cobra.Command, flags []compat.Flag, run func(context.Context, []string) error) *cobra.Command {
	c.Long += "\n\nFlags, with one dash or two:\n" + compat.Describe(flags)
	c.SetUsageTemplate("Usage:\n  {{.UseLine}}\n")
	c.DisableFlagParsing, c.DisableFlagsInUseLine = true, true
	c.RunE = func(cmd *cobra.Command, args []string) error {
		err := run(cmd.Context(), args)
		switch {
		case errors.Is(err, flag.ErrHelp):
			return cmd.Help()
		case errors.Is(err, compat.ErrVersion):
			_, err = fmt.Fprintln(o.Stdout, o.Version)
		}
		return err
	}
	c.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return compat.Complete(flags), cobra.ShellCompDirectiveDefault
	}
	return c
}
