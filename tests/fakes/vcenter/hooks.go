package main

import (
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Hooks are commands of the lab, which has guests that are real. They are run by /bin/sh -c and waited for.
type Hooks struct {
	OnPowerOn  string
	OnPowerOff string

	mutex sync.Mutex
	busy  map[types.ManagedObjectReference]*sync.Mutex // by VM: its power changes once at a time
}

// lock is held while a VM is turned on or off.
func (h *Hooks) lock(vm types.ManagedObjectReference) *sync.Mutex {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	if h.busy == nil {
		h.busy = map[types.ManagedObjectReference]*sync.Mutex{}
	}
	if h.busy[vm] == nil {
		h.busy[vm] = &sync.Mutex{}
	}
	return h.busy[vm]
}

// powerOn starts the VM's guest. What it says is for an operator.
func (h *Hooks) powerOn(vm *simulator.VirtualMachine) error {
	if err := run(h.OnPowerOn, vm, ""); err != nil {
		return fmt.Errorf("the guest of %s did not start: %w", vm.Name, err)
	}
	return nil
}

// powerOff ends the VM's guest: `how` is "guest" when it is asked to shut itself down, "power" when it is not asked.
func (h *Hooks) powerOff(vm *simulator.VirtualMachine, how string) error {
	if err := run(h.OnPowerOff, vm, how); err != nil {
		return fmt.Errorf("the guest of %s did not end: %w", vm.Name, err)
	}
	return nil
}

// run tells the command of the VM by its environment. What it said last is why it failed.
func run(command string, vm *simulator.VirtualMachine, how string) error {
	if command == "" {
		return nil
	}
	process := exec.Command("/bin/sh", "-c", command)
	process.Env = append(os.Environ(), environment(vm)...)
	process.Env = append(process.Env, "VM_OFF="+how)
	output, err := process.CombinedOutput()
	if err == nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	return fmt.Errorf("%s (%w)", lines[len(lines)-1], err)
}

func environment(vm *simulator.VirtualMachine) []string {
	var files, uuids, cards []string
	for _, disk := range inBootOrder(vm) {
		if path, _, err := pathOf(vm, backingFile(disk)); err == nil {
			files = append(files, flatOf(path))
			uuids = append(uuids, strings.ToLower(strings.ReplaceAll(uuidOf(disk), "-", "")))
		}
	}
	for _, device := range vm.Config.Hardware.Device {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			cards = append(cards, card.GetVirtualEthernetCard().MacAddress)
		}
	}
	host := simulator.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem)
	return []string{"VM_NAME=" + vm.Name, "VM_ID=" + vm.Self.Value, "VM_UUID=" + vm.Config.Uuid, "VM_HOST=" + host.Name,
		"VM_DISKS=" + strings.Join(files, ":"), "VM_DISK_UUIDS=" + strings.Join(uuids, ":"), "VM_MAC=" + strings.Join(cards, ","),
		fmt.Sprintf("VM_MEMORY_MB=%d", vm.Config.Hardware.MemoryMB), fmt.Sprintf("VM_CPUS=%d", vm.Config.Hardware.NumCPU),
		"VM_FIRMWARE=" + vm.Config.Firmware}
}

// inBootOrder is by bus, then by unit.
func inBootOrder(vm *simulator.VirtualMachine) []*types.VirtualDisk {
	buses := map[int32]int32{}
	for _, device := range vm.Config.Hardware.Device {
		if controller, ok := device.(types.BaseVirtualController); ok {
			buses[device.GetVirtualDevice().Key] = controller.GetVirtualController().BusNumber
		}
	}
	place := func(disk *types.VirtualDisk) int64 {
		unit := int32(0)
		if disk.UnitNumber != nil {
			unit = *disk.UnitNumber
		}
		return int64(buses[disk.ControllerKey])<<32 | int64(unit)
	}
	disks := disksOf(vm)
	sort.SliceStable(disks, func(i, j int) bool { return place(disks[i]) < place(disks[j]) })
	return disks
}

// noteTools says that the tools run, or not, in a guest that is real.
func (h *Hooks) noteTools(vm *simulator.VirtualMachine, running bool) {
	if h.OnPowerOn == "" {
		return
	}
	status := types.VirtualMachineToolsRunningStatusGuestToolsNotRunning
	if running {
		status = types.VirtualMachineToolsRunningStatusGuestToolsRunning
	}
	simulator.Map.WithLock(vm, func() {
		simulator.Map.Update(vm, []types.PropertyChange{{Name: "guest.toolsRunningStatus", Val: string(status)}})
	})
}

func isOn(vm *simulator.VirtualMachine) bool {
	return vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
}
