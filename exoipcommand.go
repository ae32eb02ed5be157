package main

import (
	"berth/compat"
	"berth/internal/app"

	"github.com/spf13/cobra"
)

func exoipCommand(o *app.Options) *cobra.Command {
	return flagCommand(o, &cobra.Command{
		Use:   "exoip -A|-D|-W [FLAG...]",
		Short: "Move an elastic IP of Exoscale, or watch over it, with the flags of exoip",
		Long: `Do what berth associate does (-A), berth dissociate (-D) or berth watch (-W), for one
elastic IP of Exoscale, with the flags and variables of exoip. A flag stands before its
variable. Without -i, and without a zone, the metadata service is asked.

With --print-config berth prints its own configuration that means the same, without
secrets, and exits; berth watch, associate and dissociate run with it.

SIGTERM with -W hands the elastic IP over to a living peer, or detaches it if none lives.
SIGUSR1 lowers the priority by 1, SIGUSR2 raises it, and SIGHUP begins anew without a
move. docs/migrating.md says what else differs from exoip.

Exit status: 0 done, 1 failed, 2 mistake in flags or variables.`,
	}, compat.ExoipFlags, o.Exoip)
}
