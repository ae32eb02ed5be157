package app

import (
	"os"
	"strconv"

	"berth/internal/journal"

	"go.uber.org/zap"
)

// protect asks the kernel not to choose this process when memory runs out: a
// host that is MASTER but cannot say so is an outage.
func protect(j *journal.Journal) {
	const score = -1000 // never, see proc(5)
	err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(score)), 0)
	if err != nil {
		j.Tell(unprotected, zap.Error(err))
	}
}
