// The few Element Plus parts the management pages use, each with its own style; nothing of it is loaded on the way into a lesson.

import 'element-plus/es/components/base/style/css'
import 'element-plus/es/components/config-provider/style/css'
import 'element-plus/es/components/date-picker/style/css'
import 'element-plus/es/components/dialog/style/css'
import 'element-plus/es/components/form-item/style/css'
import 'element-plus/es/components/form/style/css'
import 'element-plus/es/components/input/style/css'
import 'element-plus/es/components/option/style/css'
import 'element-plus/es/components/select/style/css'
import 'element-plus/es/components/table-column/style/css'
import 'element-plus/es/components/table/style/css'
import 'element-plus/es/components/time-picker/style/css'

export {
  ElConfigProvider,
  ElDatePicker,
  ElDialog,
  ElForm,
  ElFormItem,
  ElInput,
  ElOption,
  ElSelect,
  ElTable,
  ElTableColumn,
  ElTimePicker,
} from 'element-plus'
