package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sort"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Guests are what runs in VMs: commands that are run when one is powered on or off, or is to shut down by itself.
type Guests struct {
	On, Off, Shutdown string // for /bin/sh; empty: nothing runs there
}

// run waits for the command. What it prints on standard error is why it failed.
func (g *Guests) run(command string, vm *simulator.VirtualMachine) error {
	if command == "" {
		return nil
	}
	// What is told to end with its parent ends with the thread that began it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	run := exec.Command("/bin/sh", "-c", command)
	run.Env = append(os.Environ(), describe(vm)...)
	var said strings.Builder
	run.Stderr = &said
	if err := run.Run(); err != nil {
		return fmt.Errorf("the guest of %s: %s", vm.Name, strings.TrimSpace(said.String()+" "+err.Error()))
	}
	return nil
}

// describe is the VM, as variables of the environment.
func describe(vm *simulator.VirtualMachine) []string {
	buses := map[int32]int32{}
	mac := ""
	for _, device := range vm.Config.Hardware.Device {
		if controller, ok := device.(types.BaseVirtualController); ok {
			buses[device.GetVirtualDevice().Key] = controller.GetVirtualController().BusNumber
		}
		if card, ok := device.(types.BaseVirtualEthernetCard); ok && mac == "" {
			mac = card.GetVirtualEthernetCard().MacAddress
		}
	}
	disks := disksOf(vm)
	place := func(disk *types.VirtualDisk) int32 {
		unit := int32(0)
		if disk.UnitNumber != nil {
			unit = *disk.UnitNumber
		}
		return buses[disk.ControllerKey]<<8 | unit
	}
	sort.Slice(disks, func(i, j int) bool { return place(disks[i]) < place(disks[j]) })
	var files, uuids []string
	for _, disk := range disks {
		if path, _, err := pathOf(vm, backingFile(disk)); err == nil {
			files = append(files, flatOf(path))
			uuids = append(uuids, strings.ToLower(strings.ReplaceAll(uuidOf(disk), "-", "")))
		}
	}
	host := ""
	if one, ok := simulator.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem); ok {
		host = one.Name
	}
	return []string{"VM_NAME=" + vm.Name, "VM_UUID=" + vm.Config.Uuid, "VM_DISKS=" + strings.Join(files, ":"),
		"VM_DISK_UUIDS=" + strings.Join(uuids, ":"), "VM_MAC=" + mac, "VM_HOST=" + host,
		fmt.Sprintf("VM_MEMORY_MB=%d", vm.Config.Hardware.MemoryMB), fmt.Sprintf("VM_CPUS=%d", vm.Config.Hardware.NumCPU)}
}

// turnOn begins what runs in the VM; a fault where that does not start.
func (g *Guests) turnOn(vm *simulator.VirtualMachine) types.BaseMethodFault {
	if g.On == "" || vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOff {
		return nil
	}
	if err := g.run(g.On, vm); err != nil {
		return &types.GenericVmConfigFault{Reason: err.Error()}
	}
	g.toolsAre(vm, types.VirtualMachineToolsRunningStatusGuestToolsRunning)
	return nil
}

func (g *Guests) toolsAre(vm *simulator.VirtualMachine, status types.VirtualMachineToolsRunningStatus) {
	if g.On != "" {
		simulator.Map.WithLock(vm, func() { vm.Guest.ToolsRunningStatus = string(status) })
	}
}

// turnOff ends what runs in the VM, which is off already.
func (g *Guests) turnOff(vm *simulator.VirtualMachine) error {
	if g.Off == "" {
		return nil
	}
	g.toolsAre(vm, types.VirtualMachineToolsRunningStatusGuestToolsNotRunning)
	return g.run(g.Off, vm)
}
