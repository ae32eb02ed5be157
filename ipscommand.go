package main

import (
	"berth/internal/app"

	"github.com/spf13/cobra"
)

// apiFlags adds the flags that say where an API is. usage is that of --url.
func apiFlags(c *cobra.Command, a *app.APIOptions, usage string) *cobra.Command {
	f := c.Flags()
	f.StringVar(&a.URL, "url", "", usage)
	f.StringVar(&a.Username, "username", "", "user of the API (else BERTH_API_USERNAME)")
	f.StringVar(&a.PasswordFile, "password-file", "", "file with the password of the user (else the password in BERTH_API_PASSWORD)")
	f.StringVar(&a.CAFile, "ca-file", "", "certificate authorities of the server, instead of the system's")
	f.StringVar(&a.CertFile, "cert-file", "", "certificate of this client")
	f.StringVar(&a.KeyFile, "key-file", "", "key of that certificate")
	return c
}

const urlUsage = "URL of the berth (else BERTH_API_URL, else http://127.0.0.1:1313)"

func ipsCommand(o *app.Options) *cobra.Command {
	c := &cobra.Command{
		Use:   "ips",
		Short: "Show or change the addresses that a running berth was given",
		Long: `Show or change the addresses that were added to a berth while it runs, through its
management API (api.listen). An ID is that which berth ips list shows, or the address.

A password is never an argument: each user of the host could read it.`,
		Args: arguments(cobra.NoArgs),
	}
	c.AddCommand(ipsListCommand(o), ipsShowCommand(o), ipsAddCommand(o), ipsSetChecksCommand(o))
	c.AddCommand(ipsRemoveCommand(o), ipsLockCommand(o), ipsFailoverCommand(o))
	return c
}

func ipsListCommand(o *app.Options) *cobra.Command {
	var a app.APIOptions
	var output string
	c := apiFlags(&cobra.Command{
		Use:   "list",
		Short: "Show the addresses and their owners",
		Long: `Show the addresses that were added to the berth at the URL: the status of each on that
member (ACTIVATED: the member has it; STANDBY: it could have it; FAILING: it cannot;
BOOTING: not known yet), the member that has it, since when the status is what it is,
and why.`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf(output, "table", "json"); err != nil {
				return err
			}
			return o.ListIPs(cmd.Context(), a, output == "json")
		},
	}, &a, urlUsage)
	return outputFlag(c, &output)
}

func ipsShowCommand(o *app.Options) *cobra.Command {
	var a app.APIOptions
	var output string
	c := apiFlags(&cobra.Command{
		Use:   "show ID",
		Short: "Show all that is known of an address",
		Args:  arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf(output, "table", "json"); err != nil {
				return err
			}
			return o.ShowIP(cmd.Context(), a, args[0], output == "json")
		},
	}, &a, urlUsage)
	return outputFlag(withIDs(o, c, &a), &output)
}

// checkFlags adds the flags of the health checks of an address.
func checkFlags(c *cobra.Command, co *app.IPChecks) *cobra.Command {
	f := c.Flags()
	f.StringArrayVar(&co.Checks, "check", nil, "health check TCP:HOST:PORT; may be given several times, and all must succeed")
	f.IntVar(&co.HealthcheckInterval, "healthcheck-interval", 0, "seconds between two runs of the checks, 0 for the default")
	f.IntVar(&co.KeepaliveInterval, "keepalive-interval", 0, "seconds that berth keeps and shows for clients of LinK; without effect")
	return c
}

func ipsAddCommand(o *app.Options) *cobra.Command {
	var a app.APIOptions
	var checks app.IPChecks
	return checkFlags(apiFlags(&cobra.Command{
		Use:   "add ADDRESS[/LENGTH]...",
		Short: "Add addresses",
		Long: `Add addresses to the berth at the URL. It is a candidate for each from then on, as are
the other members to which the same address is added; one of them has it.

Exit status 1 when an address was not added, because it is there already or for
another reason; the others are added.`,
		Args: arguments(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.AddIPs(cmd.Context(), a, args, checks)
		},
	}, &a, urlUsage), &checks)
}

func ipsSetChecksCommand(o *app.Options) *cobra.Command {
	var a app.APIOptions
	var checks app.IPChecks
	return checkFlags(withIDs(o, apiFlags(&cobra.Command{
		Use:   "set-checks ID",
		Short: "Replace the health checks of an address",
		Long: `Replace the health checks and the intervals of an address by those of the flags.
Without --check the address has no health check any more.`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.SetIPChecks(cmd.Context(), a, args[0], checks)
		},
	}, &a, urlUsage), &a), &checks)
}

func ipsRemoveCommand(o *app.Options) *cobra.Command {
	var a app.APIOptions
	return withIDs(o, apiFlags(&cobra.Command{
		Use:   "remove ID",
		Short: "Remove an address",
		Long: `Remove an address from the berth at the URL, and wait until that host has unbound it.
Other members to which it was added keep it.`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.RemoveIP(cmd.Context(), a, args[0]) },
	}, &a, urlUsage), &a)
}

func ipsLockCommand(o *app.Options) *cobra.Command {
	var a app.APIOptions
	return withIDs(o, apiFlags(&cobra.Command{
		Use:   "lock ID",
		Short: "Become the owner of an address that has none",
		Long: `Have the berth at the URL become the owner of an address, if no member is. The command
takes an address from no owner; berth ips failover moves it.

Exit status 1 when the member does not have the address afterwards.`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.LockIP(cmd.Context(), a, args[0]) },
	}, &a, urlUsage), &a)
}

func ipsFailoverCommand(o *app.Options) *cobra.Command {
	var a app.APIOptions
	return withIDs(o, apiFlags(&cobra.Command{
		Use:   "failover ID",
		Short: "Move an address to another member",
		Long: `Have the berth at the URL, if it is the owner of an address, hand it over to another
member that is able; else have it become the owner, by agreement with the present one.
The command prints the new owner.`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return o.FailoverIP(cmd.Context(), a, args[0]) },
	}, &a, urlUsage), &a)
}
