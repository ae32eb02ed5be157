package e2e_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"berth/test/lab"
)

// refuseEnv makes the test binary a program that has the kernel refuse
// pidfd_open(2) and pidfd_send_signal(2) with this error number, as the system
// call filter of a container does, and then runs its arguments.
const refuseEnv = "BERTH_E2E_REFUSE"

// refuse does not return unless it fails.
func refuse() error {
	number, err := strconv.Atoi(os.Getenv(refuseEnv))
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the filter belongs to this thread until exec
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the system call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: unix.SYS_PIDFD_OPEN},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_PIDFD_SEND_SIGNAL},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(number)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		return err
	}
	return unix.Exec(os.Args[1], os.Args[1:], os.Environ())
}

// berth in a container whose filter refuses pidfds takes over, notices the death
// of keepalived, and, as a notify script, ends its predecessor.
func TestRefusedPidfdIsNotADeadKeepalived(t *testing.T) {
	t.Parallel()
	for _, refusal := range []unix.Errno{unix.EPERM, unix.ENOSYS} {
		for _, mode := range []lab.Mode{lab.FIFO, lab.Notify} {
			t.Run(string(mode)+" "+unix.ErrnoName(refusal), func(t *testing.T) {
				t.Parallel()
				f := newField(t)
				self, err := os.Executable()
				f.must(err)
				f.must(f.host1.Install("/usr/bin/refuse", self, 0o755))
				f.must(f.host1.Install("/usr/bin/berth.real", berth, 0o755))
				f.must(f.host1.WriteFile(lab.BerthPath, fmt.Sprintf("#!/bin/sh\n%s=%d exec /usr/bin/refuse /usr/bin/berth.real \"$@\"\n", refuseEnv, refusal), 0o755))
				f.configure(f.host1, mode, lab.Fast, instance4(100))
				client := f.client(lab.IPv4a)
				f.keepalived(f.host1)
				f.served(f.host1, time.Now(), client...)
				if mode == lab.FIFO {
					f.said(f.host1, time.Time{}, "keepalived is watched by looking at /proc again and again")
					if report := f.selfTest(f.host1); !strings.Contains(report, "is watched by polling /proc") {
						t.Errorf("want the self-test to agree, got %s", report)
					}
				}
				parent, child, err := f.host1.Keepalived()
				f.must(err)
				signal(t, f.host1, parent, unix.SIGSTOP)
				signal(t, f.host1, child, unix.SIGKILL)
				signal(t, f.host1, parent, unix.SIGKILL)
				killed := time.Now()
				// The API takes up to a second to carry out what it was asked before.
				f.pass(3*late+time.Second, client[0])
				f.must(f.Assign(lab.IPv4a, f.host2))
				f.stays(lab.IPv4a, f.host2, 1500*time.Millisecond, client[0])
				f.silent(f.host1, killed, client[0])
			})
		}
	}
}
