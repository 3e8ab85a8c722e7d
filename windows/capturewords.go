// SPDX-License-Identifier: Apache-2.0

package windows

import "strings"

// A term is a tool's word, folded, with ours.
type term struct{ word, meaning string }

// meaningOf returns our word for a tool's; empty if it is unknown.
func meaningOf(terms []term, word string) string {
	word = fold(strings.TrimSpace(word))
	for _, t := range terms {
		if t.word == word {
			return t.meaning
		}
	}
	return ""
}

// stateWords are the words for states that the tools print, in the languages that are known.
var stateWords = [...]term{
	{"running", "running"}, {"stopped", "stopped"}, {"start pending", "start_pending"},
	{"stop pending", "stop_pending"}, {"continue pending", "continue_pending"},
	{"pause pending", "pause_pending"}, {"paused", "paused"}, {"wird ausgeführt", "running"},
	{"ausgeführt", "running"}, {"gestartet", "running"}, {"beendet", "stopped"}, {"angehalten", "paused"},
	{"en cours d’exécution", "running"}, {"en cours d'exécution", "running"}, {"en cours", "running"},
	{"arrêté", "stopped"}, {"en ejecución", "running"}, {"detenido", "stopped"}, {"en pausa", "paused"},
	{"in esecuzione", "running"}, {"arrestato", "stopped"}, {"interrotto", "stopped"},
	{"em execução", "running"}, {"executando", "running"}, {"parado", "stopped"}, {"работает", "running"},
	{"выполняется", "running"}, {"остановлена", "stopped"}, {"остановлено", "stopped"}, {"正在运行", "running"},
	{"已停止", "stopped"}, {"執行中", "running"}, {"已停止執行", "stopped"}, {"実行中", "running"}, {"停止", "stopped"},
	{"실행 중", "running"}, {"중지됨", "stopped"},
}

// startWords are the words for start types.
var startWords = [...]term{
	{"boot", "boot"}, {"system", "system"}, {"auto", "auto"}, {"automatic", "auto"}, {"manual", "demand"},
	{"demand", "demand"}, {"disabled", "disabled"}, {"boot start", "boot"}, {"system start", "system"},
	{"auto start", "auto"}, {"demand start", "demand"}, {"boot_start", "boot"}, {"system_start", "system"},
	{"auto_start", "auto"}, {"demand_start", "demand"}, {"start", "boot"}, {"automatisch", "auto"},
	{"manuell", "demand"}, {"deaktiviert", "disabled"}, {"manuel", "demand"}, {"désactivé", "disabled"},
	{"système", "system"}, {"automatique", "auto"}, {"deshabilitado", "disabled"}, {"automático", "auto"},
	{"sistema", "system"}, {"arranque", "boot"}, {"disabilitato", "disabled"}, {"manuale", "demand"},
	{"automatico", "auto"}, {"avvio", "boot"}, {"desativado", "disabled"}, {"inicialização", "boot"},
	{"вручную", "demand"}, {"отключена", "disabled"}, {"авто", "auto"}, {"手动", "demand"}, {"禁用", "disabled"},
	{"已禁用", "disabled"}, {"自动", "auto"}, {"手動", "demand"}, {"無効", "disabled"},
}

// driverTypeWords are the words for driver types.
var driverTypeWords = [...]term{
	{"kernel", "kernel_driver"}, {"kernel driver", "kernel_driver"}, {"kernel_driver", "kernel_driver"},
	{"kernel-treiber", "kernel_driver"}, {"file system", "file_system_driver"},
	{"file system driver", "file_system_driver"}, {"file_system_driver", "file_system_driver"},
	{"dateisystem", "file_system_driver"}, {"dateisystemtreiber", "file_system_driver"},
	{"kerneltreiber", "kernel_driver"}, {"noyau", "kernel_driver"}, {"pilote de noyau", "kernel_driver"},
	{"système de fichiers", "file_system_driver"}, {"sistema de archivos", "file_system_driver"},
	{"núcleo", "kernel_driver"}, {"recognizer driver", "recognizer_driver"},
	{"file system recognizer", "recognizer_driver"}, {"adapter", "adapter"}, {"ядро", "kernel_driver"},
	{"файловая система", "file_system_driver"}, {"драйвер ядра", "kernel_driver"}, {"内核", "kernel_driver"},
	{"内核驱动程序", "kernel_driver"}, {"文件系统", "file_system_driver"}, {"文件系统驱动程序", "file_system_driver"},
	{"カーネル", "kernel_driver"}, {"ファイル システム", "file_system_driver"},
}
