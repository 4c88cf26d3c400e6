#!/usr/bin/env bash
# A service on Fargate, from its first task to its end, in plain AWS CLI: deploy two tasks of Apache, update them without
# a moment in which nobody serves, look back at the deployments, scale in, delete. No Homeport command is in it.
# Given: AWS_ENDPOINT_URL and credentials in the environment, a subnet and a security group that lets tcp/80 in:
#   export ECS_CLUSTER_NAME=your-cluster-name ECS_SECURITY_GROUP=sg-… ECS_SUBNETS=subnet-…
set -euo pipefail
cluster=$ECS_CLUSTER_NAME service=web
network="awsvpcConfiguration={subnets=[$ECS_SUBNETS],securityGroups=[$ECS_SECURITY_GROUP],assignPublicIp=ENABLED}"

# One revision of the task definition: Apache with a page of its own. It is healthy once Apache has written its process
# id and is there under it.
register() {
  aws ecs register-task-definition --family fargate-service --network-mode awsvpc --requires-compatibilities FARGATE \
    --cpu 256 --memory 512 --query taskDefinition.taskDefinitionArn --output text --container-definitions '[
    {
      "name": "web",
      "image": "httpd:2.4",
      "entryPoint": ["sh", "-c"],
      "command": ["echo \"<h1>'"$1"'</h1>\" > /usr/local/apache2/htdocs/index.html; exec httpd-foreground"],
      "portMappings": [{"containerPort": 80, "protocol": "tcp"}],
      "healthCheck": {
        "command": ["CMD-SHELL", "kill -0 $(cat /usr/local/apache2/logs/httpd.pid)"],
        "interval": 5, "timeout": 2, "retries": 2, "startPeriod": 5
      }
    }
  ]'
}

# Waits for a rollout's end: services-stable counts tasks that run, a rollout is COMPLETED once they are healthy.
deployed() {
  aws ecs wait services-stable --cluster "$cluster" --services "$service"
  while [ "$(aws ecs describe-services --cluster "$cluster" --services "$service" --output text \
    --query 'services[].deployments[].rolloutState')" = IN_PROGRESS ]; do sleep 1; done
}

# What the service's running tasks serve, one line for each.
pages() {
  local tasks interfaces
  tasks=$(aws ecs list-tasks --cluster "$cluster" --service-name "$service" --query taskArns --output text)
  interfaces=$(aws ecs describe-tasks --cluster "$cluster" --tasks $tasks --output text \
    --query 'tasks[].attachments[].details[?name==`networkInterfaceId`].value[]')
  for address in $(aws ec2 describe-network-interfaces --network-interface-ids $interfaces --output text \
    --query 'NetworkInterfaces[].Association.PublicIp'); do
    curl --fail --silent --show-error --retry 5 --retry-connrefused --retry-delay 1 "http://$address"
  done
}

# deploy
aws ecs create-cluster --cluster-name "$cluster"
first=$(register "first revision")
aws ecs create-service --cluster "$cluster" --service-name "$service" --task-definition "$first" --desired-count 2 \
  --launch-type FARGATE --network-configuration "$network" \
  --deployment-configuration 'maximumPercent=200,minimumHealthyPercent=100,deploymentCircuitBreaker={enable=true,rollback=true}'
deployed
pages

# update: new tasks are healthy before old ones stop
second=$(register "second revision")
aws ecs update-service --cluster "$cluster" --service "$service" --task-definition "$second" \
  --query 'service.deployments[].[status,rolloutState,taskDefinition]' --output text
deployed
pages

# what happened
aws ecs describe-services --cluster "$cluster" --services "$service" --output text \
  --query 'services[].events[].message'
deployments=$(aws ecs list-service-deployments --cluster "$cluster" --service "$service" --output text \
  --query 'serviceDeployments[].serviceDeploymentArn')
aws ecs describe-service-deployments --service-deployment-arns $deployments --output text \
  --query 'serviceDeployments[].[status,targetServiceRevision.arn]'

# scale in: no deployment
aws ecs update-service --cluster "$cluster" --service "$service" --desired-count 1 \
  --query 'service.[desiredCount,length(deployments)]' --output text
aws ecs wait services-stable --cluster "$cluster" --services "$service"

# tear down
aws ecs delete-service --cluster "$cluster" --service "$service" --force --query service.status --output text
aws ecs wait services-inactive --cluster "$cluster" --services "$service"
# INACTIVE comes once all tasks are stopping; a cluster is only deleted once they have stopped
aws ecs wait tasks-stopped --cluster "$cluster" --tasks \
  $(aws ecs list-tasks --cluster "$cluster" --desired-status STOPPED --query taskArns --output text)
aws ecs delete-cluster --cluster "$cluster" --query cluster.status --output text
