package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Disks keeps what the library leaves out: files with a size and a descriptor, UUIDs, deltas of snapshots, and what a guest
// sees of its VM's disks.
type Disks struct {
	mutex    sync.Mutex
	hardware map[types.ManagedObjectReference]*hardware
	rdm      map[string]string // by file: the mode
	uuids    map[string]string // by file: the UUID that it is to be made with
}

// hardware is a directory where a guest finds its disks by UUID, as a Linux has them in /dev/disk/by-id.
type hardware struct {
	directory string
	loop      bool
	present   map[string]string // link name: loop device, or the file
}

// NewDisks has none yet.
func NewDisks() *Disks {
	return &Disks{hardware: map[types.ManagedObjectReference]*hardware{}, rdm: map[string]string{},
		uuids: map[string]string{}}
}

// Close takes every disk away.
func (d *Disks) Close() {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for _, one := range d.hardware {
		for name := range one.present {
			one.remove(name)
		}
	}
}

// Forget takes away what a VM that is gone had.
func (d *Disks) Forget(vm types.ManagedObjectReference) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if one := d.hardware[vm]; one != nil {
		for name := range one.present {
			one.remove(name)
		}
	}
	delete(d.hardware, vm)
}

// SetHardware says where the VM's guest sees its disks: `kind` is "file" or "loop".
func (d *Disks) SetHardware(vm types.ManagedObjectReference, directory, kind string) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.hardware[vm] = &hardware{directory: directory, loop: kind == "loop", present: map[string]string{}}
}

// SetRDM says that the file is a raw device mapping. The library knows flat files only and ends on anything else: to it the
// disk stays one, and Mapped() changes what is told of it.
func (d *Disks) SetRDM(file, mode string) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.rdm[file] = mode
}

// SetUUID says what UUID a disk is made with that is yet to be made: 32 hex digits.
func (d *Disks) SetUUID(file, uuid string) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.uuids[file] = uuid
}

// Mapped gives raw device mappings their own backing in what a client is to see.
func (d *Disks) Mapped(devices []types.BaseVirtualDevice) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for _, device := range devices {
		disk, ok := device.(*types.VirtualDisk)
		if !ok || d.rdm[backingFile(disk)] == "" {
			continue
		}
		flat, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
		if !ok {
			continue
		}
		disk.Backing = &types.VirtualDiskRawDiskMappingVer1BackingInfo{VirtualDeviceFileBackingInfo: flat.VirtualDeviceFileBackingInfo,
			CompatibilityMode: d.rdm[flat.FileName], Uuid: flat.Uuid, DiskMode: flat.DiskMode, DeviceName: "vml.02000000",
			LunUuid: "02000000006000c500a1b2c3d4e5f60718"}
	}
}

func disksOf(vm *simulator.VirtualMachine) []*types.VirtualDisk {
	var disks []*types.VirtualDisk
	for _, device := range vm.Config.Hardware.Device {
		if disk, ok := device.(*types.VirtualDisk); ok {
			disks = append(disks, disk)
		}
	}
	return disks
}

func backingFile(disk *types.VirtualDisk) string {
	if backing, ok := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
		return backing.GetVirtualDeviceFileBackingInfo().FileName
	}
	return ""
}

var uuidLine = regexp.MustCompile(`(?m)^ddb\.uuid = "([0-9A-Fa-f -]+)"`)

// Complete makes descriptor and content of disks that the library made as empty files, and fills in each disk's UUID.
func (d *Disks) Complete(vm *simulator.VirtualMachine) error {
	for _, disk := range disksOf(vm) {
		path, _, err := pathOf(vm, backingFile(disk))
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if len(text) == 0 {
			if text, err = makeDisk(path, disk.CapacityInKB<<10, d.uuids[backingFile(disk)]); err != nil {
				return err
			}
		}
		found := uuidLine.FindSubmatch(text)
		if found == nil {
			continue
		}
		hex := strings.NewReplacer(" ", "", "-", "").Replace(string(found[1]))
		if len(hex) != 32 {
			continue
		}
		uuid := hex[:8] + "-" + hex[8:12] + "-" + hex[12:16] + "-" + hex[16:20] + "-" + hex[20:]
		if backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok {
			backing.Uuid = uuid
		}
		if info, err := os.Stat(flatOf(path)); err == nil && disk.CapacityInKB == 0 {
			disk.CapacityInKB = info.Size() >> 10
		}
		disk.CapacityInBytes = disk.CapacityInKB << 10
	}
	simulator.Map.Update(vm, []types.PropertyChange{{Name: "config.hardware.device", Val: vm.Config.Hardware.Device}})
	return nil
}

func flatOf(descriptor string) string { return strings.TrimSuffix(descriptor, ".vmdk") + "-flat.vmdk" }

// makeDisk writes a descriptor as a datastore has it, and a flat file of holes. Without a UUID it gets one of its own.
func makeDisk(path string, bytes int64, given string) ([]byte, error) {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	copy(random[:], []byte{0x60, 0x00, 0xc2, 0x90 | random[3]&0x0f}) // VMware's prefix
	if known, err := hex.DecodeString(given); err == nil && len(known) == len(random) {
		copy(random[:], known)
	}
	uuid := fmt.Sprintf("% x-% x", random[:8], random[8:])
	text := fmt.Sprintf(`# Disk DescriptorFile
version=1
encoding="UTF-8"
CID=%02x%02x%02x%02x
parentCID=ffffffff
createType="vmfs"

# Extent description
RW %d VMFS "%s"

# The Disk Data Base
#DDB
ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "%d"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
ddb.uuid = "%s"
ddb.virtualHWVersion = "14"
`, random[4], random[5], random[6], random[7], bytes/512, filepath.Base(flatOf(path)), bytes/512/255/63, uuid)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return nil, err
	}
	flat, err := os.OpenFile(flatOf(path), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	defer flat.Close()
	return []byte(text), flat.Truncate(bytes)
}

// BeginDeltas is what a snapshot does: each disk goes on in a delta on what it was.
func (d *Disks) BeginDeltas(vm *simulator.VirtualMachine) error {
	for _, disk := range disksOf(vm) {
		backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
		if !ok {
			continue
		}
		parent := *backing
		name := strings.TrimSuffix(parent.FileName, ".vmdk")
		for number := 1; ; number++ {
			delta := fmt.Sprintf("%s-%06d.vmdk", name, number)
			path, _, err := pathOf(vm, delta)
			if err != nil {
				return err
			}
			if _, err := os.Stat(path); err == nil {
				continue
			}
			text := fmt.Sprintf("# Disk DescriptorFile\nversion=1\nparentCID=00000001\ncreateType=\"vmfsSparse\"\n"+
				"parentFileNameHint=\"%s\"\nRW %d VMFSSPARSE \"%s-delta.vmdk\"\n", filepath.Base(parent.FileName),
				disk.CapacityInKB*2, strings.TrimSuffix(filepath.Base(delta), ".vmdk"))
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				return err
			}
			if err := os.WriteFile(strings.TrimSuffix(path, ".vmdk")+"-delta.vmdk", nil, 0o644); err != nil {
				return err
			}
			next := parent
			next.FileName, next.Parent = delta, &parent
			disk.Backing = &next
			break
		}
	}
	simulator.Map.Update(vm, []types.PropertyChange{{Name: "config.hardware.device", Val: vm.Config.Hardware.Device}})
	return nil
}

// EndDeltas is what removing all snapshots does.
func (d *Disks) EndDeltas(vm *simulator.VirtualMachine) {
	for _, disk := range disksOf(vm) {
		backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
		for ok && backing.Parent != nil {
			if path, _, err := pathOf(vm, backing.FileName); err == nil {
				_ = os.Remove(path)
				_ = os.Remove(strings.TrimSuffix(path, ".vmdk") + "-delta.vmdk")
			}
			backing = backing.Parent
			disk.Backing = backing
		}
	}
	simulator.Map.Update(vm, []types.PropertyChange{{Name: "config.hardware.device", Val: vm.Config.Hardware.Device}})
}

// Present shows the guest what its VM has attached while it is on.
func (d *Disks) Present(vm *simulator.VirtualMachine) error {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	one := d.hardware[vm.Self]
	if one == nil {
		return nil
	}
	if err := os.MkdirAll(one.directory, 0o755); err != nil {
		return err
	}
	wanted := map[string]string{}
	if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
		for _, disk := range disksOf(vm) {
			uuid := uuidOf(disk)
			path, _, err := pathOf(vm, backingFile(disk))
			if uuid != "" && err == nil {
				wanted["wwn-0x"+strings.ToLower(strings.ReplaceAll(uuid, "-", ""))] = flatOf(path)
			}
		}
	}
	for name := range one.present {
		if wanted[name] == "" {
			one.remove(name)
		}
	}
	for name, path := range wanted {
		if one.present[name] != "" {
			continue
		}
		device := path
		if one.loop {
			out, err := exec.Command("losetup", "--find", "--show", path).Output()
			if err != nil {
				return fmt.Errorf("losetup %s: %w", path, err)
			}
			device = strings.TrimSpace(string(out))
		}
		_ = os.Remove(filepath.Join(one.directory, name))
		if err := os.Symlink(device, filepath.Join(one.directory, name)); err != nil {
			return err
		}
		one.present[name] = device
	}
	return nil
}

func uuidOf(disk *types.VirtualDisk) string {
	if backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok {
		return backing.Uuid
	}
	return ""
}

func (h *hardware) remove(name string) {
	_ = os.Remove(filepath.Join(h.directory, name))
	if h.loop {
		_ = exec.Command("losetup", "--detach", h.present[name]).Run()
	}
	delete(h.present, name)
}
