package jobserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// StartPrivate starts what command makes in a network of its own, which has nothing but a loopback interface, and says how. Beam's
// services listen on all interfaces without authentication; there, nobody else can reach them. It takes a network namespace: of root,
// or in a user namespace with the same user in it. Where neither is allowed it returns ErrNoNamespace.
func StartPrivate(command func() *exec.Cmd) (cmd *exec.Cmd, how string, err error) {
	cmd = command()
	attributes(cmd).Cloneflags |= unix.CLONE_NEWNET
	first := cmd.Start()
	if first == nil {
		return cmd, "a network namespace", nil
	}
	cmd = command()
	a := attributes(cmd)
	a.Cloneflags |= unix.CLONE_NEWNET | unix.CLONE_NEWUSER
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}
	a.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN} // to bring the loopback interface up
	if second := cmd.Start(); second != nil {
		return nil, "", fmt.Errorf("%w (network namespace: %v; with a user namespace: %v)", ErrNoNamespace, first, second)
	}
	return cmd, "network and user namespaces", nil
}

// ErrNoNamespace means that this system does not let the user have a network of its own.
var ErrNoNamespace = errors.New("flink: no private network is allowed here")

// LoopbackUp makes the loopback interface of a new network usable.
func LoopbackUp() error {
	fail := func(err error) error {
		return fmt.Errorf("flink: bring up the loopback interface of the private network: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return fail(err)
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r); err != nil {
		return fail(err)
	}
	return nil
}
