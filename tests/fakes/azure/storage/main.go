// A simulated storage account of Azure for tests, demo and lab: Azurite, Microsoft's emulator, behind a front that refuses what
// Azure refuses and Azurite does not, and that fails on demand. See ../README.md.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

func main() {
	// What is told to end with its parent ends with the thread that began it.
	runtime.LockOSThread()
	npm := flag.String("npm", "", "folder that install-npm prints: where node_modules is")
	directory := flag.String("directory", "", "an existing folder; all that is kept is there")
	memory := flag.Bool("memory", false, "keep content in memory, and nothing in the folder")
	account := flag.String("account", "homeward", "name of the account")
	key := flag.String("key", "", "its key in base64; without it, a new one")
	container := flag.String("container", "replicas", "a container that is there from the beginning")
	listen := flag.String("listen", "127.0.0.1:0", "address of the account and of /control")
	flag.Parse()
	if err := run(*npm, *directory, *memory, *account, *key, *container, *listen); err != nil {
		fmt.Fprintln(os.Stderr, "fake azure storage:", err)
		os.Exit(1)
	}
}

func run(npm, directory string, memory bool, account, key, container, listen string) error {
	if npm == "" || directory == "" {
		return fmt.Errorf("--npm and --directory are needed")
	}
	owner, err := NewAccount(account, key)
	if err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return err
	}
	emulator, err := StartEmulator(npm, directory, memory, owner, host)
	if err != nil {
		return err
	}
	defer emulator.Stop()
	front, err := NewFront(emulator, owner, listen)
	if err != nil {
		return err
	}
	if err := front.MakeContainer(container); err != nil {
		return err
	}
	ready, _ := json.Marshal(map[string]string{"address": front.Address(), "account": owner.Name, "key": owner.Key(),
		"url": "https://" + front.Address() + "/" + owner.Name + "/" + container})
	fmt.Println(string(ready))
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	select {
	case <-end:
		return nil
	case err := <-emulator.Ended:
		return fmt.Errorf("Azurite ended: %v", err)
	}
}
