package main

import (
	"berth/compat"
	"berth/internal/app"

	"github.com/spf13/cobra"
)

func govipCommand(o *app.Options) *cobra.Command {
	return flagCommand(o, &cobra.Command{
		Use:   "govip [-etcd URLS] [-cacert FILE -cert FILE -key FILE] [-member NAME] [-name NAME] [-vif INTERFACE] [-vip ADDRESS/LENGTH]",
		Short: "Keep one address on the host that etcd elects, with the flags of govip",
		Long: `Do what berth elect does, with the flags of govip: one address, whose owner etcd
elects. Hosts with govip and hosts with berth elect one owner.

berth unbinds the address before its lease in etcd ends, and exits with status 1, when
no member of etcd has answered for as long as a lease lasts, also at the start: let a
supervisor start it again. docs/migrating.md says what differs from govip.

With -print-config berth prints its own configuration that means the same, and exits;
berth elect runs with it.

The signals are those of berth elect.`,
	}, compat.GovipFlags, o.Govip)
}
