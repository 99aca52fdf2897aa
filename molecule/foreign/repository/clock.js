require('node:http')
  .createServer((request, response) => response.end(`${process.env.GREETING} ${process.getuid()}\n`))
  .listen(process.env.PORT, '127.0.0.1')
