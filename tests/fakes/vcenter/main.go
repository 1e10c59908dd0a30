// The simulated vCenter (or a single ESX host) that tests, demo and lab run against: VMware's own simulator library behind a
// front that adds what it is thinner in. See README.md for which behaviour is whose.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	topology := flag.String("topology", "", "JSON file: what the inventory holds (README.md)")
	listen := flag.String("listen", "127.0.0.1:0", "address of the SDK and of /control")
	on := flag.String("on-power-on", "", "command that is run when a VM is powered on")
	off := flag.String("on-power-off", "", "command that is run when a VM is powered off")
	quiet := flag.Bool("quiet", true, "say nothing of what the library logs")
	flag.Parse()
	if *quiet {
		null, _ := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		log.SetOutput(null)
	}
	if err := serve(*topology, *listen, &Hooks{OnPowerOn: *on, OnPowerOff: *off}); err != nil {
		fmt.Fprintln(os.Stderr, "vcenter:", err)
		os.Exit(1)
	}
}

func serve(path string, listen string, hooks *Hooks) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var wanted Topology
	if err := json.Unmarshal(text, &wanted); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	site, err := Build(&wanted, hooks)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer site.Close()
	front, err := NewFront(site, wanted.Accounts, listen)
	if err != nil {
		return err
	}
	ready, _ := json.Marshal(map[string]string{"address": front.Address(), "thumbprint": front.Thumbprint(),
		"instance_uuid": site.InstanceUUID()})
	fmt.Println(string(ready))
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	outage := make(chan os.Signal, 1)
	signal.Notify(outage, syscall.SIGUSR1, syscall.SIGUSR2)
	for {
		select {
		case <-end:
			return nil
		case order := <-outage:
			if order == syscall.SIGUSR1 {
				front.GoDown()
			} else {
				front.ComeUp()
			}
		}
	}
}
