package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// before refuses what a vCenter refuses and the library does not.
func (f *Front) before(method *simulator.Method) types.BaseMethodFault {
	switch body := method.Body.(type) {
	case *types.CreateVM_Task:
		return mayCreate(body)
	case *types.ReconfigVM_Task:
		if vm, ok := simulator.Map.Get(method.This).(*simulator.VirtualMachine); ok {
			return mayReconfigure(vm, &body.Spec)
		}
	case *types.PowerOnVM_Task:
		if vm, ok := simulator.Map.Get(method.This).(*simulator.VirtualMachine); ok {
			return f.mayPowerOn(vm)
		}
	case *types.Destroy_Task, *types.UnregisterVM:
		if vm, ok := simulator.Map.Get(method.This).(*simulator.VirtualMachine); ok &&
			vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOff {
			return &types.InvalidPowerState{RequestedState: types.VirtualMachinePowerStatePoweredOff,
				ExistingState: vm.Runtime.PowerState}
		}
	case *types.ShutdownGuest:
		if vm, ok := simulator.Map.Get(method.This).(*simulator.VirtualMachine); ok &&
			vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn &&
			vm.Guest.ToolsRunningStatus != string(types.VirtualMachineToolsRunningStatusGuestToolsRunning) {
			return &types.ToolsUnavailable{}
		}
	}
	return nil
}

// changesPower says whether the method turns a VM on or off.
func changesPower(method *simulator.Method) bool {
	return method.Name == "PowerOnVM_Task" || method.Name == "PowerOffVM_Task"
}

// changePower has the lab do to the VM's guest what the method does to the VM, before it is done. A VM that is already as it is to
// be, the library refuses.
func (f *Front) changePower(method *simulator.Method) types.BaseMethodFault {
	vm, ok := simulator.Map.Get(method.This).(*simulator.VirtualMachine)
	if !ok {
		return nil
	}
	var err error
	if method.Name == "PowerOnVM_Task" && !isOn(vm) {
		err = f.site.hooks.powerOn(vm)
	} else if method.Name == "PowerOffVM_Task" && isOn(vm) {
		err = f.site.hooks.powerOff(vm, "power")
	}
	if err != nil {
		return &types.GenericVmConfigFault{Reason: err.Error()}
	}
	return nil
}

// after does what the library leaves undone.
func (f *Front) after(method *simulator.Method, result types.AnyType) error {
	reference := method.This
	if _, ok := method.Body.(*types.CreateVM_Task); ok {
		if made, ok := result.(types.ManagedObjectReference); ok {
			reference = made
		}
	}
	disks := f.site.disks
	vm, ok := simulator.Map.Get(reference).(*simulator.VirtualMachine)
	if !ok {
		disks.Forget(reference)
		return nil
	}
	switch method.Body.(type) {
	case *types.CreateVM_Task, *types.ReconfigVM_Task, *types.RegisterVM_Task:
		if err := disks.Complete(vm); err != nil {
			return err
		}
		vm.Config.ExtraConfig = lastOfEach(vm.Config.ExtraConfig)
		vm.Config.ChangeVersion = fmt.Sprint(f.changes.Add(1))
		simulator.Map.Update(vm, []types.PropertyChange{{Name: "config.changeVersion", Val: vm.Config.ChangeVersion}})
	case *types.PowerOnVM_Task, *types.PowerOffVM_Task, *types.ShutdownGuest:
		f.site.hooks.noteTools(vm, isOn(vm))
	case *types.CreateSnapshot_Task:
		return disks.BeginDeltas(vm)
	case *types.RemoveAllSnapshots_Task:
		disks.EndDeltas(vm)
	}
	return disks.Present(vm)
}

func mayCreate(body *types.CreateVM_Task) types.BaseMethodFault {
	for _, entity := range simulator.Map.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		if vm.Name == body.Config.Name && vm.Parent != nil && *vm.Parent == body.This {
			return &types.DuplicateName{Name: vm.Name, Object: vm.Self}
		}
	}
	return nil
}

func mayReconfigure(vm *simulator.VirtualMachine, spec *types.VirtualMachineConfigSpec) types.BaseMethodFault {
	if spec.ChangeVersion != "" && spec.ChangeVersion != vm.Config.ChangeVersion {
		return &types.ConcurrentAccess{}
	}
	controllers := map[int32]bool{}
	for _, device := range vm.Config.Hardware.Device {
		controllers[device.GetVirtualDevice().Key] = true
	}
	for _, change := range spec.DeviceChange {
		controllers[change.GetVirtualDeviceConfigSpec().Device.GetVirtualDevice().Key] = true
	}
	for i, change := range spec.DeviceChange {
		one := change.GetVirtualDeviceConfigSpec()
		disk, ok := one.Device.(*types.VirtualDisk)
		if !ok || one.Operation != types.VirtualDeviceConfigSpecOperationAdd {
			continue
		}
		if !controllers[disk.ControllerKey] || (disk.UnitNumber != nil && *disk.UnitNumber == 7) {
			return &types.InvalidDeviceSpec{DeviceIndex: int32(i)}
		}
		path, store, err := pathOf(vm, backingFile(disk))
		if err != nil {
			return &types.InvalidDatastorePath{DatastorePath: backingFile(disk)}
		}
		if !mounts(store, *vm.Runtime.Host) {
			return &types.InvalidDatastore{Datastore: &store.Self, Name: store.Name}
		}
		if one.FileOperation == types.VirtualDeviceConfigSpecFileOperationCreate {
			if disk.CapacityInKB<<10 > store.Summary.FreeSpace {
				return &types.NoDiskSpace{Datastore: store.Name}
			}
			continue
		}
		if _, err := os.Stat(path); err != nil {
			return &types.FileNotFound{FileFault: types.FileFault{File: backingFile(disk)}}
		}
		if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn && heldByAnother(vm, path) {
			return &types.FileLocked{FileFault: types.FileFault{File: backingFile(disk)}}
		}
		for _, other := range disksOf(vm) {
			if theirs, _, err := pathOf(vm, backingFile(other)); err == nil && theirs == path {
				return &types.InvalidDeviceSpec{DeviceIndex: int32(i)}
			}
			if other.ControllerKey == disk.ControllerKey && disk.UnitNumber != nil && other.UnitNumber != nil &&
				*other.UnitNumber == *disk.UnitNumber && !removes(spec, other.Key) {
				return &types.InvalidDeviceSpec{DeviceIndex: int32(i)}
			}
		}
	}
	return nil
}

// lastOfEach keeps one value for each key, whose case does not matter: the library adds.
func lastOfEach(options []types.BaseOptionValue) []types.BaseOptionValue {
	place := map[string]int{}
	var kept []types.BaseOptionValue
	for _, option := range options {
		key := strings.ToLower(option.GetOptionValue().Key)
		if at, ok := place[key]; ok {
			kept[at] = option
			continue
		}
		place[key] = len(kept)
		kept = append(kept, option)
	}
	return kept
}

func removes(spec *types.VirtualMachineConfigSpec, key int32) bool {
	for _, change := range spec.DeviceChange {
		one := change.GetVirtualDeviceConfigSpec()
		if one.Operation == types.VirtualDeviceConfigSpecOperationRemove && one.Device.GetVirtualDevice().Key == key {
			return true
		}
	}
	return false
}

func mounts(store *simulator.Datastore, host types.ManagedObjectReference) bool {
	for _, mount := range store.Host {
		if mount.Key == host {
			return mount.MountInfo.AccessMode == string(types.HostMountModeReadWrite)
		}
	}
	return false
}

// heldByAnother says whether a VM that is on has the disk.
func heldByAnother(vm *simulator.VirtualMachine, path string) bool {
	for _, entity := range simulator.Map.All("VirtualMachine") {
		other := entity.(*simulator.VirtualMachine)
		if other.Self == vm.Self || other.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
			continue
		}
		for _, disk := range disksOf(other) {
			if theirs, _, err := pathOf(other, backingFile(disk)); err == nil && theirs == path {
				return true
			}
		}
	}
	return false
}

func (f *Front) mayPowerOn(vm *simulator.VirtualMachine) types.BaseMethodFault {
	for _, disk := range disksOf(vm) {
		path, _, err := pathOf(vm, backingFile(disk))
		if err != nil {
			return &types.InvalidDatastorePath{DatastorePath: backingFile(disk)}
		}
		if _, err := os.Stat(path); err != nil {
			return &types.FileNotFound{FileFault: types.FileFault{File: backingFile(disk)}}
		}
		if heldByAnother(vm, path) {
			return &types.FileLocked{FileFault: types.FileFault{File: backingFile(disk)}}
		}
	}
	host := simulator.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem)
	most := f.site.memoryMB[host.Name]
	used := int64(vm.Config.Hardware.MemoryMB)
	for _, reference := range host.Vm {
		other, ok := simulator.Map.Get(reference).(*simulator.VirtualMachine)
		if ok && other.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			used += int64(other.Config.Hardware.MemoryMB)
		}
	}
	if most > 0 && used > most {
		return &types.InsufficientMemoryResourcesFault{Requested: int64(vm.Config.Hardware.MemoryMB) << 20}
	}
	return nil
}
