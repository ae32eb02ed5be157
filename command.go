package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"berth/internal/app"

	"github.com/spf13/cobra"
)

// predecessors are the programs for which berth stands in when a link to it, or the file
// itself, has their name, each with the command that does their work. floaty's is the
// command line itself.
var predecessors = map[string]string{
	"exoip":  "exoip",
	"floaty": "",
	"govip":  "govip",
	"link":   "link",
	"yaim":   "yaim",
}

// asCalled returns the arguments, behind the command for which the name of the program
// stands.
func asCalled(args []string) []string {
	name, rest := predecessors[filepath.Base(args[0])], args[1:]
	if name == "" || len(rest) > 0 && rest[0] == name {
		return rest
	}
	return append([]string{name}, rest...)
}

// command returns the command line: floaty's three forms at the root, everything
// else as subcommands.
func command(o *app.Options) *cobra.Command {
	var fifoMode, testMode bool
	var output string
	root := &cobra.Command{
		Use: `berth [flags] CONFIG INSTANCE|GROUP NAME STATE [PRIORITY]
  berth [flags] --fifo CONFIG FIFO
  berth [flags] --test CONFIG`,
		Short: "Keep cloud floating IPs pointed at the host that is MASTER",
		Long: `berth keeps cloud floating IPs pointed at the host that keepalived made MASTER.

It is keepalived's notify script (the first form), reads its notify FIFO as a
service (--fifo, recommended), and tests itself without changing anything
(--test). It logs to log-file, if the configuration has that key; otherwise to
stderr, or to the journal or syslog where stderr is /dev/null. It runs on Linux
only.

Exit status: 0 done, 1 failed, 2 mistake in usage or configuration.`,
		Version:       o.Version,
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case fifoMode && testMode:
				return usage(fmt.Errorf("--fifo and --test exclude each other"))
			case fifoMode:
				if len(args) != 2 {
					return usage(fmt.Errorf("--fifo expects CONFIG and FIFO; arguments given: %d", len(args)))
				}
				return o.FIFO(cmd.Context(), args[0], args[1])
			case testMode:
				if len(args) != 1 {
					return usage(fmt.Errorf("--test expects CONFIG; arguments given: %d", len(args)))
				}
				if err := oneOf(output, "table", "json", "nagios"); err != nil {
					return err
				}
				return o.SelfTest(cmd.Context(), args[0], output)
			case len(args) == 0:
				return usage(fmt.Errorf("expected CONFIG INSTANCE|GROUP NAME STATE [PRIORITY], --fifo, --test or a command"))
			}
			return o.Notify(cmd.Context(), args[0], args[1:])
		},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	// Flags end at the first argument: an instance may be named -odd.
	f := root.Flags()
	f.SetInterspersed(false)
	f.BoolVar(&fifoMode, "fifo", false, "read the events from keepalived's notify FIFO")
	f.BoolVarP(&testMode, "test", "T", false, "test configuration, provider and host; changes nothing")
	f.StringVar(&output, "output", "table", "form of the self-test's report: table, json or nagios")
	p := root.PersistentFlags()
	p.BoolVarP(&o.Verbose, "verbose", "v", false, "log more (also BERTH_LOG_VERBOSE, FLOATY_LOG_VERBOSE)")
	p.BoolVar(&o.JSONLog, "json-log", false, "log JSON lines")
	p.BoolVar(&o.DryRun, "dry-run", false, "change nothing; print REFRESH ADDRESS/PREFIX instead of calling the provider")
	root.AddCommand(electCommand(o), watchCommand(o), takeoverCommand(o), releaseCommand(o), poolCommand(o), ipsCommand(o), associateCommand(o), dissociateCommand(o), yaimCommand(o), linkCommand(o), govipCommand(o), exoipCommand(o))
	root.AddCommand(showCommand(o), statusCommand(o), clusterCommand(o), checkCommand(o), configCommand(o), cloudsimCommand(o), versionCommand(o))
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.HasSubCommands() {
			expectCommand(c)
		}
	}
	return root
}

// expectCommand has a command that needs another one behind it say so, as a mistake; cobra
// would print help and succeed.
func expectCommand(c *cobra.Command) {
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	c.Args = arguments(cobra.NoArgs)
	c.RunE = func(*cobra.Command, []string) error {
		return usage(fmt.Errorf("%s expects a command: %s", c.CommandPath(), strings.Join(names, ", ")))
	}
}

func electCommand(o *app.Options) *cobra.Command {
	return &cobra.Command{
		Use:   "elect CONFIG",
		Short: "Elect owners by etcd, and bind and announce their addresses",
		Long: `Take part in the elections that the configuration names. The owner of an
instance binds its addresses, announces them, and points the floating IPs if a
provider is configured. With pool.enabled the host serves its share of the addresses
that etcd lists. With follow.patroni the leader of Patroni is the owner.

At SIGTERM berth unbinds its addresses and resigns; at SIGHUP it reads the
configuration again, and at SIGUSR2 it ends for an upgrade, in both cases without
moving an address.`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.Elect(cmd.Context(), args[0]) },
	}
}

// configFlag adds --config to a command whose argument is not a configuration.
func configFlag(c *cobra.Command, path *string) *cobra.Command {
	c.Flags().StringVar(path, "config", "/etc/berth.yml", "configuration of berth elect on this host")
	return c
}

func takeoverCommand(o *app.Options) *cobra.Command {
	var path string
	return withInstances(o, configFlag(&cobra.Command{
		Use:   "takeover INSTANCE",
		Short: "Make this host the owner of an instance",
		Long: `Ask the owner of an instance to hand it over to this host, on which berth elect
must run, and wait until that has happened. The owner unbinds its addresses
before this host binds them.`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.Takeover(cmd.Context(), path, args[0]) },
	}, &path), &path)
}

func releaseCommand(o *app.Options) *cobra.Command {
	var path string
	return withInstances(o, configFlag(&cobra.Command{
		Use:   "release INSTANCE",
		Short: "Make this host hand an instance over to another",
		Long: `Ask berth elect of this host to hand an instance over to any other host, and wait
until that has happened. This host continues to take part in the election.`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.Release(cmd.Context(), path, args[0]) },
	}, &path), &path)
}

func showCommand(o *app.Options) *cobra.Command {
	var so app.ShowOptions
	var output string
	c := &cobra.Command{
		Use:   "show CONFIG [INSTANCE]",
		Short: "Show which addresses would be managed, and why",
		Long: `Show the instances and addresses of keepalived's configuration, the mistakes in
that configuration, and the server to which the provider points each floating IP.

Exit status 1 when keepalived would refuse its configuration.`,
		Args: arguments(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf(output, "table", "json"); err != nil {
				return err
			}
			so.JSON = output == "json"
			if len(args) == 2 {
				so.Instance = args[1]
			}
			return o.Show(cmd.Context(), args[0], so)
		},
	}
	outputFlag(c, &output)
	c.Flags().BoolVar(&so.Offline, "offline", false, "do not ask the provider")
	c.Flags().BoolVar(&so.AssumeInterfaces, "assume-interfaces", false, "assume that every interface in the file exists, with an MTU of 1500")
	return c
}

func statusCommand(o *app.Options) *cobra.Command {
	var runDirectory, output string
	c := &cobra.Command{
		Use:   "status [INSTANCE]",
		Short: "Show what is managed now on this host",
		Long: `Show what is managed now on this host, from the files in the run directory.

Exit status 1 if and only if an instance is MASTER here and no process of berth
acts for it (STALE); 2 when berth cannot tell.`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := oneOf(output, "table", "json"); err != nil {
				return err
			}
			instance := ""
			if len(args) == 1 {
				instance = args[0]
			}
			return o.Status(runDirectory, instance, output == "json")
		},
	}
	c.Flags().StringVar(&runDirectory, "run-directory", "/run/berth", "as in the configuration")
	complete(c, func(context.Context) []string { return o.CompleteStatus(runDirectory) })
	return outputFlag(c, &output)
}

func checkCommand(o *app.Options) *cobra.Command {
	var co app.CheckOptions
	var output string
	c := &cobra.Command{
		Use:   "check CONFIG [INSTANCE]",
		Short: "Run the health checks once",
		Long: `Run the health checks of this host once, or those of an instance, all at the same
time, and print a line for each: ok or failed, how long the check took, its name,
and the reason. keepalived can use the command as a track_script.

Exit status 1 when a check failed; 2 when none is configured.`,
		Args: arguments(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf(output, "table", "json"); err != nil {
				return err
			}
			co.JSON = output == "json"
			if len(args) == 2 {
				co.Instance = args[1]
			}
			return o.Check(cmd.Context(), args[0], co)
		},
	}
	return outputFlag(c, &output)
}

func configCommand(o *app.Options) *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Check a configuration", Args: arguments(cobra.NoArgs)}
	withoutFiles := false
	check := &cobra.Command{
		Use:   "check CONFIG",
		Short: "Report every mistake in a configuration, with its line",
		Long: `Read a configuration as the other commands do, with the secrets that it names,
and report every mistake in it. berth config check makes no call and changes
nothing; berth --test does call the provider.`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error { return o.CheckConfig(args[0], withoutFiles) },
	}
	check.Flags().BoolVar(&withoutFiles, "without-files", false, "leave out the files and programs of health checks, which are read at each run")
	c.AddCommand(check)
	return c
}

func versionCommand(o *app.Options) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(o.Stdout, o.Version)
			return err
		},
	}
}

func cloudsimCommand(o *app.Options) *cobra.Command {
	var co app.CloudsimOptions
	c := &cobra.Command{
		Use:   "cloudsim",
		Short: "Run a simulated provider on loopback, to try berth without an account",
		Long: `Run a simulated cloudscale account: two servers, an IPv4 address and an IPv6
network that can be moved between them, and the metadata service. The simulator
prints a configuration for berth and a line for each request. It listens on
loopback only and stores nothing. The same servers are also a Hetzner account with
the same addresses, and an Exoscale account with other addresses.`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.Cloudsim(cmd.Context(), co) },
	}
	c.Flags().StringVar(&co.Listen, "listen", "127.0.0.1:8080", "loopback address and port")
	c.Flags().StringVar(&co.Token, "token", "simulated-token", "the token that the simulator accepts")
	c.Flags().BoolVar(&co.Unfriendly, "unfriendly", false, "make the API slow, stale and refusing, and lose answers, each by chance")
	c.Flags().Uint64Var(&co.Seed, "seed", 0, "seed of the random numbers; 0 for a new seed, which is printed")
	return c
}
